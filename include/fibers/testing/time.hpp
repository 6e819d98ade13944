// SPDX-License-Identifier: BSL-1.0
#pragma once

// Virtual time, moved on purpose: for tests that look at what is between two steps.

#include <boost/assert/source_location.hpp>
#include <fibers/clock.hpp>

namespace fibers::testing {

/// Waits until all other tasks of this loop wait for something, be it for time to pass. Suspends; when cancelled,
/// nothing has happened. Several may wait so: they go on together.
void wait_all_blocked(boost::source_location const& place = BOOST_CURRENT_LOCATION);

/// Lets so much virtual time pass, and all happen that is due by then. Suspends; when cancelled, part of the time may
/// have passed. Throws invalid_state_error where the clock is the real one.
void advance(time_limit length, boost::source_location const& place = BOOST_CURRENT_LOCATION);

}  // namespace fibers::testing
