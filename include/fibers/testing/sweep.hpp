// SPDX-License-Identifier: BSL-1.0
#pragma once

// What happens if it is cancelled just there?
//
// Each run must end as it should, and leave nothing: no task, no timer, no stack, no exception that nobody fetched, and
// no memory of the library's; under the leak sanitizer, no memory at all. The first time it does not, failure is
// thrown.
//
// Points are counted over all tasks of a run: each call of a function that may suspend, just before it looks for a
// request, and each moment at which all tasks wait and the clock is about to move.

#include <concepts>
#include <cstddef>
#include <fibers/testing/failure.hpp>
#include <functional>

namespace fibers::testing {

struct sweep_options {
  /// After each single one, also each pair: a second one at each later point, which is in the clean-up after the first.
  bool pairs = false;

  /// A run that comes to more points than this is taken to go on for ever.
  std::size_t most_points = 100'000;
};

namespace detail {
std::size_t cancel_sweep(std::function<void()> const& body, sweep_options options);
std::size_t timeout_sweep(std::function<void()> const& body, sweep_options options);
std::size_t failure_sweep(std::function<void()> const& body, sweep_options options);
}  // namespace detail

/// Runs the body with a request to cancel it at its 1st, 2nd, 3rd … point, until it runs through without being hit. A
/// body that was hit must end cancelled; if it comes to its end in spite of it, it has swallowed the request, unless it
/// took it back with uncancel(), or was not asked before it had its result. FIBERS_POINT=3 in the environment, or =3,7
/// for a pair, runs this one only. Returns the number of runs. Not for inside of a task: invalid_state_error.
template <class F>
requires std::invocable<F&> std::size_t cancel_sweep(F&& body, sweep_options options = {}) {
  return detail::cancel_sweep([&body] { static_cast<void>(body()); }, options);
}

/// The same with a time limit around the body which passes at that point: timeout_error is how it ends.
template <class F>
requires std::invocable<F&> std::size_t timeout_sweep(F&& body, sweep_options options = {}) {
  return detail::timeout_sweep([&body] { static_cast<void>(body()); }, options);
}

/// The same with std::bad_alloc from the 1st, 2nd, 3rd … time that the library takes memory (for tasks, stacks, items
/// in queues and so on). The body may return or throw that, also in an exception_group. A request to cancel takes
/// memory only for what it tells of itself, and does without.
template <class F>
requires std::invocable<F&> std::size_t failure_sweep(F&& body, sweep_options options = {}) {
  return detail::failure_sweep([&body] { static_cast<void>(body()); }, options);
}

}  // namespace fibers::testing
