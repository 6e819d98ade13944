// SPDX-License-Identifier: BSL-1.0
#pragma once

// Mutual exclusion. For std::lock_guard, std::unique_lock and std::scoped_lock.
//
//   std::lock_guard const guard(mutex);
//
// Fair: unlock() keeps the mutex for the first waiter, and lock() never overtakes it. try_lock() may acquire the mutex
// before that waiter runs; the waiter then keeps its place at the head. Without this exception std::scoped_lock, which
// locks one mutex and tries the others, would never get two that always have waiters.
//
// It has no owner: any task may unlock it. Thread-safe; may be held across suspensions. For data that no task holds
// across a suspension no mutex is needed on one loop.
// Invariant: while a waiter is linked that is not being withdrawn, the mutex is locked or kept.

#include <boost/assert/source_location.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>

namespace fibers {

class mutex {
 public:
  mutex() = default;
  /// May be called once each lock() has returned or thrown, also while an unlock() has not returned on another thread.
  /// Waits that have not ended throw invalid_state_error.
  ~mutex() = default;

  /// Acquires the mutex.
  ///
  /// May suspend; cancellation point. If cancelled, the mutex is not held. In a destructor, which must not throw, use
  /// lock_shielded().
  void lock(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// As lock(), but not a cancellation point: a request stays pending.
  void lock_shielded(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Returns false if the mutex is held. Does not suspend.
  bool try_lock() noexcept;

  /// Releases the mutex and wakes the first waiter. Does not suspend. Throws invalid_state_error if it is not locked.
  void unlock();

  bool is_locked() const noexcept;

 private:
  mutable detail::spinlock spin_;  // guards what follows
  bool locked_ = false;
  bool kept_ = false;  // for a waiter that was woken and has not taken it yet
  detail::wait_list<> waiters_{spin_};
};

}  // namespace fibers
