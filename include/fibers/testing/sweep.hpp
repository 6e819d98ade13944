// SPDX-License-Identifier: BSL-1.0
#pragma once

// Sweeps run a body repeatedly, with a cancellation, a timeout or a failed allocation at another point in each run.
//
// Each run must end as specified below, and leave nothing behind: no task, timer, stack, unfetched exception or memory
// of the library; under the leak sanitizer, no memory at all. Otherwise the sweep throws failure.
//
// Points are counted over all tasks of a run: each cancellation point, and each moment at which all tasks wait and the
// clock is about to move.

#include <concepts>
#include <cstddef>
#include <fibers/testing/failure.hpp>
#include <functional>

namespace fibers::testing {

struct sweep_options {
  /// After each single point, also runs each pair: a second cancellation at each later point, in the clean-up.
  bool pairs = false;

  /// The maximum number of points in a run; a run with more counts as endless.
  std::size_t most_points = 100'000;
};

namespace detail {
std::size_t cancel_sweep(std::function<void()> const& body, sweep_options options);
std::size_t timeout_sweep(std::function<void()> const& body, sweep_options options);
std::size_t failure_sweep(std::function<void()> const& body, sweep_options options);
}  // namespace detail

/// Runs the body with a cancellation at its 1st, 2nd, 3rd … point, until a run ends before its point. Returns the
/// number of runs.
///
/// A cancelled body must end cancelled. A body that returns has swallowed the request, unless the body withdrew the
/// request with uncancel(), or had its result before. The environment variable FIBERS_POINT=3, or =3,7 for a pair,
/// selects one run. Throws failure; invalid_state_error within a task.
template <class F>
requires std::invocable<F&> std::size_t cancel_sweep(F&& body, sweep_options options = {}) {
  return detail::cancel_sweep([&body] { static_cast<void>(body()); }, options);
}

/// As cancel_sweep(), with a time limit around the body that passes at the point. The body must end with timeout_error.
template <class F>
requires std::invocable<F&> std::size_t timeout_sweep(F&& body, sweep_options options = {}) {
  return detail::timeout_sweep([&body] { static_cast<void>(body()); }, options);
}

/// As cancel_sweep(), with std::bad_alloc at the 1st, 2nd, 3rd … allocation of the library (tasks, stacks, items of
/// queues and so on).
///
/// The body may return or throw std::bad_alloc, also in an exception_group. Cancellation itself needs no memory; only
/// its message and origin do.
template <class F>
requires std::invocable<F&> std::size_t failure_sweep(F&& body, sweep_options options = {}) {
  return detail::failure_sweep([&body] { static_cast<void>(body()); }, options);
}

}  // namespace fibers::testing
