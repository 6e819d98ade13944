// SPDX-License-Identifier: BSL-1.0
#pragma once

// What other threads want of a task; the inbox of its loop is in the private header of this room.

#include <cstdint>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/cxx20.hpp>

namespace fibers::detail {

/// One entry a task, for any number of notes: they are bits. From the first note until the loop reads them, the entry
/// stands in the inbox, which shares in owning the task.
struct inbox_entry {
  enum note : std::uint8_t {
    woken = 1,      ///< its wait was claimed by another thread: make it ready
    requested = 2,  ///< it was asked to cancel: see whether it sleeps in a wait that can be taken back
  };

  atomic<std::uint8_t> notes = 0;
  inbox_entry* next = nullptr;
};

}  // namespace fibers::detail
