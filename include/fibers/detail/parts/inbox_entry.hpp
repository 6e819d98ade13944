// SPDX-License-Identifier: BSL-1.0
#pragma once

// Messages from other threads to a task. The inbox of its loop is in a private header.

#include <cstdint>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/cxx20.hpp>

namespace fibers::detail {

/// One entry per task; its notes are bits. From the first note until the loop reads them, the entry is in the inbox,
/// which shares ownership of the task.
struct inbox_entry {
  enum note : std::uint8_t {
    woken = 1,      ///< another thread has claimed its wait: the loop makes the task ready
    requested = 2,  ///< a cancellation request was recorded: the loop serves it (request.hpp)
  };

  atomic<std::uint8_t> notes = 0;
  inbox_entry* next = nullptr;
};

}  // namespace fibers::detail
