// SPDX-License-Identifier: BSL-1.0
#pragma once

// Moves virtual time step by step, for tests that inspect the state between two steps.

#include <boost/assert/source_location.hpp>
#include <fibers/clock.hpp>

namespace fibers::testing {

/// Waits until all other tasks of this loop wait, including for timers.
///
/// Suspends; cancellation point. Several tasks that wait in this way are woken together.
void wait_all_blocked(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Moves virtual time forward, and runs all tasks and timers that are due by then.
///
/// Suspends; cancellation point: part of the time may have passed. Throws invalid_state_error if the clock is real.
void advance(time_limit length, boost::source_location const& place = BOOST_CURRENT_LOCATION);

}  // namespace fibers::testing
