// SPDX-License-Identifier: BSL-1.0
#pragma once

// Waiting, with a lock, for something that others do with it.
//
//   std::unique_lock lock(mutex);
//   changed.wait(lock, [&] { return !items.empty(); });
//
// However a wait ends, the lock is held again. A notification reaches a task that can use it: one that is being
// cancelled passes it on. So a wait may end without need, and what it is for must be looked at again, as wait(lock,
// predicate) does. It must outlive every wait(), also one that was notified. For tasks of all threads' loops.

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

  /// Unlocks, waits to be notified, and locks again, in line with others. Suspends. When cancelled, it stops waiting to
  /// be notified, locks, and then throws. Throws invalid_state_error, having done nothing, if `lock` does not hold its
  /// mutex.
  void wait(std::unique_lock<mutex>& lock, boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Waits again and again until the predicate holds.
  template <class Predicate>
  void wait(std::unique_lock<mutex>& lock, Predicate predicate,
            boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    while (!predicate()) wait(lock, place);
  }

  /// Wakes the one, the few, or all that have waited longest. The lock need not be held. Do not suspend. Any thread.
  void notify_one() noexcept { notify(1); }
  void notify(std::size_t count) noexcept;
  void notify_all() noexcept;

 private:
  detail::spinlock spin_;  // guards the list
  detail::wait_list waiters_;
};

}  // namespace fibers
