// SPDX-License-Identifier: BSL-1.0
#pragma once

// Calls a function for each element of a range, with a limited number of concurrent calls.
//
//   fibers::for_each_concurrent(urls, 10, [](auto const& url) { fetch(url); });
//
// A semaphore limits the calls, and a task group waits for them.

#include <algorithm>
#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/semaphore.hpp>
#include <fibers/task_group.hpp>
#include <functional>
#include <mutex>
#include <ranges>
#include <stdexcept>
#include <utility>

namespace fibers {

/// Calls f(element) for each element of a range, in tasks of a group, with at most `limit` concurrent calls.
///
/// May suspend; cancellation point. The caller iterates over the range, whose iterators may suspend, and advances when
/// the next call may begin. Errors and cancellation are those of with_task_group(). Throws std::invalid_argument for a
/// limit of 0.
template <std::ranges::input_range Range, class F>
void for_each_concurrent(Range&& range, std::size_t limit, F f,
                         boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (limit == 0) throw std::invalid_argument("fibers: for_each_concurrent() with a limit of 0 would never begin");
  semaphore room(static_cast<semaphore::count>(std::min(limit, unbounded)));
  with_task_group(
      [&](task_group& group) {
        detail::enter(place);
        auto next = std::ranges::begin(range);
        auto const end = std::ranges::end(range);
        for (bool first = true;; first = false) {
          room.acquire(1, place);
          std::unique_lock permit(room, std::adopt_lock);
          if (!first) ++next;
          if (next == end) break;
          detail::enter(place);  // throws if a call has failed meanwhile
          if constexpr (std::ranges::forward_range<Range>) {
            group.spawn([&f, next, permit = std::move(permit)] { std::invoke(f, *next); }, place);
          } else {
            group.spawn([&f, element = std::ranges::range_value_t<Range>(*next),
                         permit = std::move(permit)]() mutable { std::invoke(f, std::move(element)); },
                        place);
          }
        }
      },
      place);
}

}  // namespace fibers
