// SPDX-License-Identifier: BSL-1.0
#pragma once

// Functions for the running task. Without a running task they throw invalid_state_error.

#include <boost/assert/source_location.hpp>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/task.hpp>
#include <stop_token>
#include <string>
#include <string_view>

namespace fibers {

namespace this_task {

/// Yields to all tasks that are ready.
///
/// May suspend; cancellation point, also for a cancellation request that arrives meanwhile.
void yield(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Delivers a pending cancellation, and yields about every 64th time. For loops that compute and do not wait.
///
/// May suspend; cancellation point. The yields serve timers, other threads, signals and other tasks. Complexity: O(1),
/// a few nanoseconds without a yield.
void checkpoint(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Requests the cancellation of this task. Its next suspension point delivers it. Does not suspend.
void cancel(std::string_view message = {}, boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Returns the number of cancellation requests that were not withdrawn with uncancel().
int cancelling(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Withdraws one cancellation request, and returns the number of requests that are left.
///
/// For the code that made the request. Lowers the count of the innermost scope that has one. At zero, pending requests
/// are dropped. Does not suspend.
int uncancel(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Returns whether this error is a cancellation of this task.
///
/// If only the awaited task of a get() was cancelled, get() throws an error for which this is false, and the caller
/// need not end. Does not suspend.
///
///   catch (fibers::cancelled_error const& error) {
///     if (fibers::this_task::is_own(error)) throw;
///     …  // the awaited task was cancelled
///   }
bool is_own(cancelled_error const& error, boost::source_location const& place = BOOST_CURRENT_LOCATION);

std::string name(boost::source_location const& place = BOOST_CURRENT_LOCATION);
task_id id(boost::source_location const& place = BOOST_CURRENT_LOCATION);
task_handle<> handle(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Returns a token that is stopped when a cancellation can be delivered at the call site. For code that knows
/// std::stop_token.
///
/// The token belongs to the innermost timeout, group or shield, or to the task itself. Once that scope is left, nothing
/// stops the token any more. Inside a shield, requests from outside do not stop the token. If the scope has been
/// cancelled already, the token is stopped at once: in clean-up, take a token inside with_shield(). Callbacks of the
/// token run on the thread that cancels, and must not suspend. Does not suspend. Throws std::bad_alloc.
std::stop_token stop_token(boost::source_location const& place = BOOST_CURRENT_LOCATION);

}  // namespace this_task

namespace detail {
/// Returns the task if its sleep was cancelled, otherwise null. The caller throws, since each frame that an exception
/// passes costs 150 ns.
task_state* sleep(duration length, boost::source_location const& place);
}  // namespace detail

/// Sleeps until a time point; yields if the time point has passed.
///
/// Suspends; cancellation point.
void sleep_until(time_point when, boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Sleeps for a duration. Zero yields; no_timeout sleeps until the task is cancelled.
///
/// Suspends; cancellation point. Throws std::invalid_argument for less than zero and for NaN.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> length,
               boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  auto* const cancelled = detail::sleep(detail::to_duration(length), place);
  if (cancelled != nullptr) throw detail::deliver_requests(*cancelled);
}
inline void sleep_for(no_timeout_t, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (auto* const cancelled = detail::sleep(duration::max(), place)) throw detail::deliver_requests(*cancelled);
}

}  // namespace fibers
