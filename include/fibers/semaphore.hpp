// SPDX-License-Identifier: BSL-1.0
#pragma once

// A number of permits.
//
//   fibers::semaphore at_most_ten(10);
//   std::lock_guard const permit(at_most_ten);
//
// FIFO: a request for n permits is granted at once as a whole, and is not overtaken by smaller ones. Thread-safe.
// Invariant: the first waiter that is not being withdrawn wants more permits than are available.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/unbounded.hpp>

namespace fibers {

namespace detail {
struct permit_request : wait_entry {
  permit_request(waiter& w, std::ptrdiff_t permits) noexcept : wait_entry(w), wanted(permits) {}
  std::ptrdiff_t const wanted;
};
}  // namespace detail

class semaphore {
 public:
  using count = std::ptrdiff_t;

  /// Begins with so many permits available, and never has more than `bound`. Throws std::invalid_argument unless
  /// 0 <= permits <= bound.
  explicit semaphore(count permits, count bound = unbounded);
  /// May be called once each acquire() has returned or thrown, also while a release() has not returned on another
  /// thread. Waits that have not ended throw invalid_state_error.
  ~semaphore() = default;

  /// Takes permits, all at once.
  ///
  /// May suspend; cancellation point. If cancelled, no permit is taken. Throws std::invalid_argument for less than 1
  /// and for more than the bound.
  void acquire(count permits = 1, boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// As acquire(), but not a cancellation point: a request stays pending.
  void acquire_shielded(count permits = 1, boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Returns false if there are too few permits or other tasks wait. Does not suspend. Throws as acquire().
  bool try_acquire(count permits = 1);

  /// Adds permits; they need not have been acquired before.
  ///
  /// Does not suspend. A woken task may destroy the semaphore. Throws std::invalid_argument, and changes nothing, for
  /// less than 1 and beyond the bound.
  void release(count permits = 1);

  count available() const noexcept;

  /// For std::lock_guard and the like: one permit.
  void lock(boost::source_location const& place = BOOST_CURRENT_LOCATION) { acquire(1, place); }
  bool try_lock() { return try_acquire(); }
  void unlock() { release(); }

 private:
  class acquisition;

  void check(count permits) const;
  void serve(detail::owed_wakes& woken) noexcept;

  count const bound_;
  mutable detail::spinlock spin_;  // guards what follows
  count available_;
  detail::wait_list<detail::permit_request> waiters_{spin_};
};

}  // namespace fibers
