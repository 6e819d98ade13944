// SPDX-License-Identifier: BSL-1.0
#pragma once

// A balanced tree of timers. Timers of equal times keep the order in which they were armed. Own thread only.

#include <boost/intrusive/set.hpp>
#include <cstddef>
#include <fibers/detail/parts/timer.hpp>
#include <iterator>

namespace fibers::detail {

class timer_queue {
 public:
  bool empty() const noexcept { return timers_.empty(); }
  std::size_t size() const noexcept { return timers_.size(); }

  /// The earliest time; time_point::max() if there is none.
  time_point next() const noexcept { return timers_.empty() ? time_point::max() : timers_.begin()->when; }

  /// O(1) if it is not before the latest one, as with one time limit for many; otherwise O(log n).
  void add(timer& added, time_point when) noexcept {
    added.when = when;
    if (timers_.empty() || !(when < timers_.rbegin()->when)) {
      timers_.insert_before(timers_.end(), added);
    } else {
      timers_.insert(added);  // behind its equals
    }
  }

  /// Amortised O(1).
  void remove(timer& removed) noexcept { timers_.erase(timers_.iterator_to(removed)); }

  std::size_t count_due(time_point now) const noexcept {
    return static_cast<std::size_t>(std::distance(timers_.begin(), timers_.upper_bound(now)));
  }

  /// Disarms and fires the timer at this index in the order of due times.
  void fire(std::size_t index) noexcept { fire(*std::next(timers_.begin(), static_cast<std::ptrdiff_t>(index))); }

  /// Disarms and fires, in order, all timers that are due.
  void fire_due(time_point now) noexcept {
    while (!timers_.empty() && timers_.begin()->when <= now) fire(*timers_.begin());
  }

 private:
  void fire(timer& due) noexcept {
    remove(due);
    due.fire(due);
  }

  struct time_of {
    using type = time_point;
    time_point const& operator()(timer const& t) const noexcept { return t.when; }
  };
  boost::intrusive::multiset<timer, boost::intrusive::key_of_value<time_of>> timers_;
};

}  // namespace fibers::detail
