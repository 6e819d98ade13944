// SPDX-License-Identifier: BSL-1.0
#pragma once

// A count that goes down to zero once; tasks wait for that. Thread-safe.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/event.hpp>
#include <mutex>

namespace fibers {

class latch {
 public:
  /// Throws std::invalid_argument for less than 0.
  explicit latch(std::ptrdiff_t count);
  /// May be called as soon as a wait() has returned or try_wait() was true, also while the last count_down() has not
  /// returned on another thread.
  ~latch() = default;

  /// Lowers the count; at zero wakes all waiters.
  ///
  /// Does not suspend. A woken task may destroy the latch. Throws std::invalid_argument, and changes nothing, for less
  /// than 0 and for more than what is left.
  void count_down(std::ptrdiff_t n = 1);

  /// Is the count zero?
  bool try_wait() const noexcept { return zero_.is_set(); }

  /// Returns once the count is zero. May suspend; cancellation point.
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) { zero_.wait(place); }

  /// As count_down(n) and wait(). If cancelled while it waits, the count stays lowered.
  void arrive_and_wait(std::ptrdiff_t n = 1, boost::source_location const& place = BOOST_CURRENT_LOCATION);

 private:
  detail::spinlock lock_;  // guards the count
  std::ptrdiff_t count_;
  event zero_;
};

}  // namespace fibers
