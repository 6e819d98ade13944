// SPDX-License-Identifier: BSL-1.0
#pragma once

// One task at a time. For std::lock_guard, std::unique_lock and std::scoped_lock.
//
//   std::lock_guard const guard(mutex);
//
// Fair: who comes first is served first. unlock() keeps it for the first that waits, and no lock() can slip in before
// that one runs. Only try_lock() can, and then the one who waited is the first again. That is what lets
// std::scoped_lock take several: it locks one and tries the others, and would never get them if each were always kept
// for somebody.
//
// It has no owner: any task may unlock it. For tasks of all threads' loops; may be held across suspensions.
// It must outlive the lock() of everyone who waits.
// Invariant: while somebody stands in the list, it is locked or kept.

#include <boost/assert/source_location.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>

namespace fibers {

class mutex {
 public:
  mutex() = default;

  /// Suspends. When cancelled, the lock is not held. In a destructor, where no exception may come out, use
  /// lock_shielded().
  void lock(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// The same, but no cancellation cuts it short: a request stays pending.
  void lock_shielded(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// True if nobody holds it. Does not suspend. Any thread.
  bool try_lock() noexcept;

  /// Lets the first that waits have it. Throws invalid_state_error if it is not locked. Does not suspend. Any thread.
  void unlock();

  bool is_locked() const noexcept;

 private:
  mutable detail::spinlock spin_;  // guards what follows
  bool locked_ = false;
  bool kept_ = false;  // for one that was woken, and has not taken it yet
  detail::wait_list waiters_;
};

}  // namespace fibers
