// SPDX-License-Identifier: BSL-1.0
#pragma once

// What if the others had run first?
//
// Each run must end as it should, and leave nothing, as in a sweep.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <fibers/testing/failure.hpp>
#include <functional>

namespace fibers::testing {

struct explore_options {
  /// Of the first run; the next ones have the numbers that follow.
  std::uint64_t seed = 1;
  /// As in sweep_options.
  std::size_t most_points = 100'000;
};

/// All schedules with at most so many departures from the usual order, in which the task that has been ready longest
/// runs next.
struct systematic {
  std::size_t preemptions = 2;
  /// No more runs than this.
  std::size_t most_runs = 100'000;
  /// As in sweep_options.
  std::size_t most_points = 100'000;
};

struct exploration {
  /// The number of schedules that were run.
  std::size_t runs;
  /// How often, in all runs, several tasks or timers could have come next. 0: there is only one schedule.
  std::size_t choices;
  /// Were these all schedules within the bound?
  bool complete;
};

namespace detail {
exploration explore(std::function<void()> const& body, std::size_t runs, explore_options options);
exploration explore(std::function<void()> const& body, systematic options);
}  // namespace detail

/// Runs the body under so many schedules: whenever several tasks are ready or timers due, a generator picks who comes
/// first; and tasks give way wherever they may. FIBERS_SEED=17 in the environment runs only the schedule of this seed.
/// Not for inside of a task: invalid_state_error.
template <class F>
requires std::invocable<F&> exploration explore(F&& body, std::size_t runs = 1000, explore_options options = {}) {
  return detail::explore([&body] { static_cast<void>(body()); }, runs, options);
}

/// Walks through the schedules one by one, those with the fewest departures first. FIBERS_SCHEDULE, which a failure
/// names, runs only one. The number of schedules grows with the number of steps to the power of `preemptions`: for
/// small bodies.
template <class F>
requires std::invocable<F&> exploration explore(F&& body, systematic options) {
  return detail::explore([&body] { static_cast<void>(body()); }, options);
}

}  // namespace fibers::testing
