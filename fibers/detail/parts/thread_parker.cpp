// SPDX-License-Identifier: BSL-1.0

// Linux: a futex, which a signal handler may wake, and which takes a deadline of the steady clock as it is.

#include "thread_parker.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>

namespace fibers::detail {

std::timespec to_timespec(time_point deadline) noexcept {
  auto const since_boot = std::max<duration>(deadline.time_since_epoch(), std::chrono::nanoseconds(1));
  auto const seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
  return {.tv_sec = static_cast<std::time_t>(seconds.count()),
          .tv_nsec = static_cast<long>(std::chrono::nanoseconds(since_boot - seconds).count())};
}

void thread_parker::park(time_point deadline) {
  if (unparked_.exchange(0) != 0) return;
  auto const until = to_timespec(deadline);
  auto const* const timeout = deadline != time_point::max() ? &until : nullptr;
  // Sleeps only if nobody has unparked in between; comes back for a wake, the deadline or a signal.
  ::syscall(SYS_futex, &unparked_, FUTEX_WAIT_BITSET_PRIVATE, 0, timeout, nullptr, FUTEX_BITSET_MATCH_ANY);
  unparked_.store(0);
}

void thread_parker::unpark() noexcept {
  if (unparked_.exchange(1) == 0) ::syscall(SYS_futex, &unparked_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace fibers::detail
