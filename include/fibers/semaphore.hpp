// SPDX-License-Identifier: BSL-1.0
#pragma once

// A number of permits.
//
//   fibers::semaphore at_most_ten(10);
//   std::lock_guard const permit(at_most_ten);
//
// Fair: permits go to those who wait in the order in which they came; who wants several waits for all of them at once,
// and nobody overtakes it. For tasks of all threads' loops.
// Invariant: the first in the list wants more than there are.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <limits>
#include <mutex>

namespace fibers {

class semaphore {
 public:
  using count = std::ptrdiff_t;
  static constexpr count unbounded = std::numeric_limits<count>::max();

  /// With so many permits free at first, and at most `bound` at any time. Throws std::invalid_argument unless
  /// 0 <= permits <= bound.
  explicit semaphore(count permits, count bound = unbounded);

  /// Takes permits, all at once. Suspends. When cancelled, none is taken. Throws std::invalid_argument for less than 1
  /// and for more than the bound.
  void acquire(count permits = 1, boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Takes them if they are free and nobody waits. Does not suspend. Any thread.
  bool try_acquire(count permits = 1);

  /// Gives permits, also such as were never taken. Throws std::invalid_argument, changing nothing, for less than 1 and
  /// beyond the bound. Does not suspend. Any thread.
  void release(count permits = 1);

  /// How many are free.
  count available() const noexcept;

  /// For std::lock_guard and its like: one permit.
  void lock(boost::source_location const& place = BOOST_CURRENT_LOCATION) { acquire(1, place); }
  bool try_lock() { return try_acquire(); }
  void unlock() { release(); }

 private:
  struct entry;

  void check(count permits) const;
  void serve(std::unique_lock<detail::spinlock>& guard) noexcept;

  count const bound_;
  mutable detail::spinlock spin_;  // guards what follows
  count available_;
  detail::wait_list waiters_;
};

}  // namespace fibers
