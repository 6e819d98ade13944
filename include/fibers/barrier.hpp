// SPDX-License-Identifier: BSL-1.0
#pragma once

// A fixed number of tasks wait for each other, again and again.
//
// The last arrival of a round wakes all waiters at once, and the next round begins, so arrivals of the next round
// cannot interfere with waiters that have not run yet. Thread-safe. Invariant: fewer tasks wait than there are parties,
// and none while the barrier is broken.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>

namespace fibers {

namespace detail {
enum class round_state : unsigned char { open, passed, broken };

/// Written under the barrier's lock, by the party that ends the round.
struct arrival : wait_entry {
  using wait_entry::wait_entry;
  round_state round = round_state::open;
  std::size_t number = 0;
};
}  // namespace detail

class barrier {
 public:
  /// Throws std::invalid_argument for less than 1.
  explicit barrier(std::ptrdiff_t parties);
  /// May be called as soon as one arrive_and_wait() of the last round has returned, also while others of that round
  /// have not, on other threads. Waits that have not ended throw invalid_state_error.
  ~barrier() = default;

  /// Waits until as many tasks have arrived as there are parties; the last arrival does not wait.
  ///
  /// Returns the arrival's index in its round, from 0 to parties - 1. May suspend; cancellation point. If cancelled,
  /// the arrival is withdrawn and the barrier is not broken. Throws broken_barrier_error if the barrier is broken, or
  /// is reset meanwhile. Complexity: O(1) for each task of a round.
  std::size_t arrive_and_wait(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Breaks the barrier: waiters, and arrivals until reset(), get broken_barrier_error. Does not suspend.
  void abort() noexcept;

  /// Begins anew: waiters get broken_barrier_error. Does not suspend.
  void reset() noexcept;

  std::size_t parties() const noexcept { return parties_; }
  /// The number of tasks that wait. O(1).
  std::size_t waiting() const noexcept;
  bool broken() const noexcept;

 private:
  class arrival_waiter;

  void end_round(detail::owed_wakes& woken, detail::round_state how) noexcept;
  void break_round(bool broken_from_now_on) noexcept;

  std::size_t const parties_;
  mutable detail::spinlock spin_;  // guards what follows
  bool broken_ = false;
  std::size_t waiting_ = 0;
  detail::wait_list<detail::arrival> waiters_{spin_};
};

}  // namespace fibers
