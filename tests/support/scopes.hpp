// SPDX-License-Identifier: BSL-1.0
#pragma once

// For tests of scopes: how a block ended, and whether it left its task unchanged.

#include <fibers/clock.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <string>

#include "record.hpp"

namespace fibers::testing {

/// Like how(), but "timed out" for a timeout_error, whose text contains call sites; with ", asked n" if the running
/// task then has a count of n requests.
template <class F>
std::string ends(F&& call) {
  auto text = how(call);
  if (text.starts_with("failed: timed out")) text = "timed out";
  auto const asked = this_task::cancelling();
  return asked == 0 ? text : text + ", asked " + std::to_string(asked);
}

/// In virtual time, which begins at 0.
inline time_point at(duration since_the_start) { return time_point(since_the_start); }

inline std::string expired(timeout_scope const& scope) { return scope.expired() ? "expired" : "not expired"; }

/// Calls its callable in the destructor.
template <class F>
struct at_exit {
  F function;
  ~at_exit() { function(); }
};
template <class F>
at_exit(F) -> at_exit<F>;

}  // namespace fibers::testing
