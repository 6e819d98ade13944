// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a task does with itself. Everything here needs a running task, and throws invalid_state_error without one.

#include <boost/assert/source_location.hpp>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/task.hpp>
#include <stop_token>
#include <string>
#include <string_view>

namespace fibers {

namespace this_task {

/// Lets every task run that is ready now. Suspends; a request that comes meanwhile is thrown at its end.
void yield(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// For loops that compute and never wait: delivers a pending cancellation, and yields every 64th time or so, so that
/// timers, other threads, signals and other tasks have their turn.
///
/// May suspend; cancellation point. A few nanoseconds.
void checkpoint(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Asks this task to stop: the request is thrown at its next suspension point. Does not suspend.
void cancel(std::string_view message = {}, boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// How many requests to stop were made and not taken back.
int cancelling(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Takes one request back, for who has made it; drops it if it is the last and was not thrown yet. Returns how many are
/// left.
int uncancel(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Is this error a cancellation of this task? False for that of another task, which get() throws if only that task was
/// cancelled, by a third party: then the caller need not end. Does not suspend.
///
///   catch (fibers::cancelled_error const& error) {
///     if (fibers::this_task::is_own(error)) throw;
///     …  // the other task was cancelled
///   }
bool is_own(cancelled_error const& error, boost::source_location const& place = BOOST_CURRENT_LOCATION);

std::string name(boost::source_location const& place = BOOST_CURRENT_LOCATION);
task_id id(boost::source_location const& place = BOOST_CURRENT_LOCATION);
task_handle<> handle(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// For code that knows std::stop_token: a token that is stopped when a cancellation can be delivered where it was
/// taken.
///
/// The token belongs to the innermost timeout, group, shield or else the task itself: once that scope is left, nothing
/// stops the token any more. Inside a shield, requests from outside do not stop it. It is stopped at once if that scope
/// has been cancelled already: in clean-up take a token inside with_shield(). Does not suspend. Its callbacks run on
/// the thread that cancels, and must not suspend. Throws std::bad_alloc.
std::stop_token stop_token(boost::source_location const& place = BOOST_CURRENT_LOCATION);

}  // namespace this_task

namespace detail {
/// Returns the task if its sleep was cancelled: then the caller throws, since each frame that an exception passes costs
/// 150 ns. Else null.
task_state* sleep(duration length, boost::source_location const& place);
}  // namespace detail

/// Sleeps until then; a time that has passed only yields. Suspends; when cancelled, the timer is gone.
void sleep_until(time_point when, boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Sleeps so long; zero only yields, no_timeout is for ever. Throws std::invalid_argument for less than zero and for
/// NaN. Suspends; when cancelled, the timer is gone.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> length,
               boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (auto* const cancelled = detail::sleep(detail::to_duration(length), place)) throw detail::deliver_requests(*cancelled);
}
inline void sleep_for(no_timeout_t, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (auto* const cancelled = detail::sleep(duration::max(), place)) throw detail::deliver_requests(*cancelled);
}

}  // namespace fibers
