// SPDX-License-Identifier: BSL-1.0
#pragma once

// Explorations run a body under many schedules, to find errors that depend on the order of tasks.
//
// As in a sweep, each run must end as specified, and leave nothing behind.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <fibers/testing/failure.hpp>
#include <functional>

namespace fibers::testing {

struct explore_options {
  /// The seed of the first run. Later runs have the following numbers.
  std::uint64_t seed = 1;
  /// As in sweep_options.
  std::size_t most_points = 100'000;
};

/// Options for all schedules with a bounded number of preemptions: departures from the usual order, in which the task
/// that has been ready longest runs next.
struct systematic {
  std::size_t preemptions = 2;
  /// The maximum number of runs.
  std::size_t most_runs = 100'000;
  /// As in sweep_options.
  std::size_t most_points = 100'000;
};

struct exploration {
  /// The number of runs.
  std::size_t runs;
  /// The number of decisions among several tasks or timers, in all runs. If 0, there is only one schedule.
  std::size_t choices;
  /// Whether these were all schedules within the bound.
  bool complete;
};

namespace detail {
exploration explore(std::function<void()> const& body, std::size_t runs, explore_options options);
exploration explore(std::function<void()> const& body, systematic options);
}  // namespace detail

/// Runs the body under random schedules.
///
/// Whenever several tasks are ready or timers due, a generator chooses the next; tasks yield at each point. The
/// environment variable FIBERS_SEED=17 selects the schedule of this seed. Throws failure; invalid_state_error within a
/// task.
template <class F>
requires std::invocable<F&> exploration explore(F&& body, std::size_t runs = 1000, explore_options options = {}) {
  return detail::explore([&body] { static_cast<void>(body()); }, runs, options);
}

/// Runs the body under all schedules within the bound, those with the fewest preemptions first.
///
/// The environment variable FIBERS_SCHEDULE, whose value a failure names, selects one. Throws failure;
/// invalid_state_error within a task. Complexity: O(n^preemptions) runs for n steps, hence only for small bodies.
template <class F>
requires std::invocable<F&> exploration explore(F&& body, systematic options) {
  return detail::explore([&body] { static_cast<void>(body()); }, options);
}

}  // namespace fibers::testing
