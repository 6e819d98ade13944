// SPDX-License-Identifier: BSL-1.0
#pragma once

// A number of tasks wait for each other, again and again.
//
// The last of a round lets all go at once and the next round begins, so nobody of the next can get in the way of those
// who have not run yet. For tasks of all threads' loops. Invariant: fewer stand in the list than there are parties, and
// nobody while the barrier is broken.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/spinlock.hpp>
#include <fibers/detail/wait_list.hpp>
#include <mutex>

namespace fibers {

class barrier {
 public:
  /// Throws std::invalid_argument for less than 1.
  explicit barrier(std::ptrdiff_t parties);

  /// Waits until as many have come as there are parties; the last does not wait. Returns a number from 0 to parties -
  /// 1, another one for each of the round, in the order in which they came. Suspends. When cancelled, the task is as if
  /// it had not come, and the barrier is not broken. Throws broken_barrier_error if it is broken, or is reset
  /// meanwhile.
  std::size_t arrive_and_wait(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Breaks it: those who wait get broken_barrier_error, and so does who comes, until it is reset. Does not suspend.
  /// Any thread.
  void abort() noexcept;

  /// Begins anew: those who wait get broken_barrier_error. Does not suspend. Any thread.
  void reset() noexcept;

  std::size_t parties() const noexcept { return parties_; }
  /// How many wait.
  std::size_t waiting() const noexcept;
  bool broken() const noexcept;

 private:
  struct entry;

  void break_round(bool broken_from_now_on) noexcept;

  std::size_t const parties_;
  mutable detail::spinlock spin_;  // guards what follows
  bool broken_ = false;
  mutable detail::wait_list waiters_;
};

}  // namespace fibers
