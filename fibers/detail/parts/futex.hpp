// SPDX-License-Identifier: BSL-1.0
#pragma once

// A thread waits for a word in memory to change.

#include <cstdint>
#include <fibers/clock.hpp>
#include <fibers/detail/parts/atomic.hpp>

namespace fibers::detail {

/// Blocks until wake_one() or the deadline, unless the word has another value. May return early. wake_one() is
/// async-signal-safe.
void wait_on(atomic<std::uint32_t>& word, std::uint32_t value, time_point deadline) noexcept;
void wake_one(atomic<std::uint32_t>& word) noexcept;

}  // namespace fibers::detail
