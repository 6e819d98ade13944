// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/parts/spinlock.hpp>

namespace fibers::detail {

void spinlock::wait() noexcept {
  // The owner needs nanoseconds, unless its thread was preempted: then yield the processor to it.
  do {
    for (int tries = 0; locked_.load(std::memory_order_relaxed); ++tries) {
      if (tries >= looks_before_yield) yield_thread();
    }
  } while (locked_.exchange(true, std::memory_order_acquire));
}

}  // namespace fibers::detail
