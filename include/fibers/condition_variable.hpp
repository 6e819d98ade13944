// SPDX-License-Identifier: BSL-1.0
#pragma once

// A wait, with a mutex, for a condition of the data that the mutex protects.
//
//   std::unique_lock lock(mutex);
//   changed.wait(lock, [&] { return !items.empty(); });
//
// However a wait ends, the mutex is held again. A notification reaches a task that can use it: a task that is cancelled
// meanwhile passes it on. A wait may therefore end without need, and the condition must be checked again, as
// wait(lock, predicate) does. Thread-safe.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/mutex.hpp>
#include <mutex>

namespace fibers {

class condition_variable {
 public:
  condition_variable() = default;
  /// May be called once each wait() has returned or thrown, also while a notify function has not returned on another
  /// thread. Waits that were not notified throw invalid_state_error, with the mutex held.
  ~condition_variable() = default;

  /// Unlocks, waits for a notification, and locks again, in FIFO order with other lock() callers.
  ///
  /// May suspend; cancellation point. If cancelled, the wait ends, the mutex is locked, and then cancelled_error is
  /// thrown. Throws invalid_state_error, and changes nothing, if `lock` does not hold its mutex.
  void wait(std::unique_lock<mutex>& lock, boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Waits until the predicate holds.
  template <class Predicate>
  void wait(std::unique_lock<mutex>& lock, Predicate predicate,
            boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    while (!predicate()) wait(lock, place);
  }

  /// Wakes the first waiter. The mutex need not be held. Does not suspend.
  void notify_one() noexcept { notify(1); }
  /// Wakes the first `count` waiters. Does not suspend.
  void notify(std::size_t count) noexcept;
  /// Wakes all waiters in FIFO order. Does not suspend.
  void notify_all() noexcept;

 private:
  detail::spinlock spin_;  // guards the list
  detail::wait_list<> waiters_{spin_};
};

}  // namespace fibers
