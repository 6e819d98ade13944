// SPDX-License-Identifier: BSL-1.0
#pragma once

// A count that goes down to zero once; those who wait for that go on then, and for ever after.
//
// For tasks of all threads' loops.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/event.hpp>
#include <mutex>

namespace fibers {

class latch {
 public:
  /// Throws std::invalid_argument for less than 0.
  explicit latch(std::ptrdiff_t count);

  /// Throws std::invalid_argument, changing nothing, for less than 0 and for more than what is left. Does not suspend.
  /// Any thread. The one that makes it zero may be the latch's last user: whoever is let go may destroy it.
  void count_down(std::ptrdiff_t n = 1);

  /// Is it zero?
  bool try_wait() const noexcept { return zero_.is_set(); }

  /// Returns once it is zero. Suspends.
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) { zero_.wait(place); }

  /// count_down(n) and wait(). When cancelled, the count stays down.
  void arrive_and_wait(std::ptrdiff_t n = 1, boost::source_location const& place = BOOST_CURRENT_LOCATION);

 private:
  detail::spinlock lock_;  // guards the count
  std::ptrdiff_t count_;
  event zero_;
};

}  // namespace fibers
