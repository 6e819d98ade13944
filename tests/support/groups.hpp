// SPDX-License-Identifier: BSL-1.0
#pragma once

// For tests of task groups: children that fail, and children that clean up for a while.

#include <chrono>
#include <fibers/clock.hpp>
#include <fibers/error.hpp>
#include <fibers/this_task.hpp>
#include <stdexcept>
#include <string>

namespace fibers::testing {

struct refusal : std::runtime_error {
  using runtime_error::runtime_error;
};

[[noreturn]] inline void fail(std::string const& text) { throw refusal(text); }

/// Returns the count of cancellation requests of the running task.
inline std::string count() { return std::to_string(this_task::cancelling()); }

/// Sleeps, and cleans up for a while.
inline void slow_to_end(duration clean_up) {
  try {
    sleep_for(std::chrono::seconds(99));
  } catch (cancelled_error const&) {
    sleep_for(clean_up);
    throw;
  }
}

}  // namespace fibers::testing
