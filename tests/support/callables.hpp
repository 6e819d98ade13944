// SPDX-License-Identifier: BSL-1.0
#pragma once

// For tests of functions that take callables, or tasks of them.

#include <chrono>
#include <fibers/this_task.hpp>
#include <stdexcept>

namespace fibers::testing {

/// Returns the number of seconds for which it has slept.
inline auto sleeper(int seconds) {
  return [seconds] {
    sleep_for(std::chrono::seconds(seconds));
    return seconds;
  };
}

inline auto failing(int seconds, char const* text = "no") {
  return [seconds, text]() -> int {
    sleep_for(std::chrono::seconds(seconds));
    throw std::runtime_error(text);
  };
}

}  // namespace fibers::testing
