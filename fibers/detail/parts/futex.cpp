// SPDX-License-Identifier: BSL-1.0

// Linux: a signal handler may wake a futex, and a futex takes a deadline of the steady clock without conversion.

#include "futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fibers/detail/parts/parker.hpp>

namespace fibers::detail {

std::timespec to_timespec(time_point deadline) noexcept {
  auto const since_boot = std::max<duration>(deadline.time_since_epoch(), std::chrono::nanoseconds(1));
  auto const seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
  return {.tv_sec = static_cast<std::time_t>(seconds.count()),
          .tv_nsec = static_cast<long>(std::chrono::nanoseconds(since_boot - seconds).count())};
}

void wait_on(atomic<std::uint32_t>& word, std::uint32_t value, time_point deadline) noexcept {
  auto const until = to_timespec(deadline);
  auto const* const timeout = deadline != time_point::max() ? &until : nullptr;
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, value, timeout, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void wake_one(atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace fibers::detail
