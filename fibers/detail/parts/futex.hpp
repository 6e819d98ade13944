// SPDX-License-Identifier: BSL-1.0
#pragma once

// Threads that wait for a word in memory to change.

#include <cstdint>
#include <fibers/clock.hpp>
#include <fibers/detail/parts/atomic.hpp>

namespace fibers::detail {

/// Sleeps until wake_one() or the deadline, unless the word has another value. May return early. A signal handler may
/// call wake_one().
void wait_on(atomic<std::uint32_t>& word, std::uint32_t value, time_point deadline) noexcept;
void wake_one(atomic<std::uint32_t>& word) noexcept;

}  // namespace fibers::detail
