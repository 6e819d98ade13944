// SPDX-License-Identifier: BSL-1.0
#pragma once

// A number of tasks wait for each other, again and again.
//
// The last arrival of a round wakes all its waiters at once and the next round begins, so arrivals of the next round
// cannot get in the way of waiters that have not run yet. Thread-safe. Invariant: the list has fewer waiters than there
// are parties, and none while the barrier is broken.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <mutex>

namespace fibers {

class barrier {
 public:
  /// Throws std::invalid_argument for less than 1.
  explicit barrier(std::ptrdiff_t parties);

  /// Waits until as many tasks have arrived as there are parties; the last one does not wait.
  ///
  /// Returns a number from 0 to parties - 1, a different one for each task of the round, in order of arrival. May
  /// suspend; cancellation point. A cancelled task has not arrived, and the barrier is not broken. Throws
  /// broken_barrier_error if the barrier is broken, or is reset meanwhile. Complexity: O(1) for each task of a round,
  /// plus O(parties) if cancelled waiters that have not run yet make the round look complete.
  std::size_t arrive_and_wait(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Breaks the barrier: waiters, and arrivals until it is reset, get broken_barrier_error. Does not suspend.
  void abort() noexcept;

  /// Begins anew: waiters get broken_barrier_error. Does not suspend.
  void reset() noexcept;

  std::size_t parties() const noexcept { return parties_; }
  /// How many tasks are waiting, with those that were cancelled and have not run since. O(1).
  std::size_t waiting() const noexcept;
  bool broken() const noexcept;

 private:
  struct entry;

  void break_round(bool broken_from_now_on) noexcept;

  std::size_t const parties_;
  mutable detail::spinlock spin_;  // guards what follows
  bool broken_ = false;
  detail::wait_list waiters_;
};

}  // namespace fibers
