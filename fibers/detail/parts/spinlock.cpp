// SPDX-License-Identifier: BSL-1.0

#include <sched.h>

#include <fibers/detail/parts/spinlock.hpp>

namespace fibers::detail {

#ifdef FIBERS_EXPLORED
void spinlock::yield() noexcept { explored::yield(); }
constexpr int patience = 0;
#else
void spinlock::yield() noexcept { ::sched_yield(); }
constexpr int patience = 100;
#endif

void spinlock::wait() noexcept {
  // The owner needs nanoseconds, unless its thread was preempted: then yield the processor to it.
  do {
    for (int tries = 0; locked_.load(std::memory_order_relaxed); ++tries) {
      if (tries >= patience) yield();
    }
  } while (locked_.exchange(true, std::memory_order_acquire));
}

}  // namespace fibers::detail
