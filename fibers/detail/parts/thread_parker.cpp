// SPDX-License-Identifier: BSL-1.0

#include "thread_parker.hpp"

#include "futex.hpp"

namespace fibers::detail {

void thread_parker::park(time_point deadline) {
  if (unparked_.exchange(0) != 0) return;
  wait_on(unparked_, 0, deadline);  // returns at once if unpark() came in between
  unparked_.store(0);
}

void thread_parker::unpark() noexcept {
  if (unparked_.exchange(1) == 0) wake_one(unparked_);
}

}  // namespace fibers::detail
