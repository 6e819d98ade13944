// SPDX-License-Identifier: BSL-1.0
#pragma once

// Sweeps a body in every way: cancelled at each point and in each pair of points, timed out, with failing allocations,
// and in any order of its tasks.

#include <fibers/testing.hpp>

#include "catch.hpp"

namespace fibers::testing {

template <class F>
void stands_anything(F body) {
  auto const runs = cancel_sweep(body, {.pairs = true});
  CHECK(runs > 1);  // it has a suspension point
  CHECK(timeout_sweep(body, {.pairs = true}) > 1);
  CHECK(failure_sweep(body) > 1);  // it allocates
  CHECK(explore(body, 200).choices > 0);
}

}  // namespace fibers::testing
