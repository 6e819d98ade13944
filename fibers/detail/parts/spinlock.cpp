// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/parts/spinlock.hpp>
#include <thread>

namespace fibers::detail {

void spinlock::yield() noexcept { std::this_thread::yield(); }

void spinlock::wait() noexcept {
  // The owner needs nanoseconds, unless its thread was put aside by the system: then get out of its way.
  constexpr int patience = 100;
  do {
    for (int tries = 0; locked_.load(std::memory_order_relaxed); ++tries) {
      if (tries >= patience) std::this_thread::yield();
    }
  } while (locked_.exchange(true, std::memory_order_acquire));
}

}  // namespace fibers::detail
