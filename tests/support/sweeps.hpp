// SPDX-License-Identifier: BSL-1.0
#pragma once

// Sweeps a body in every way: cancelled at each point and in each pair of points, timed out, with failing allocations,
// and in any order of its tasks.

#include <fibers/testing.hpp>

#include "catch.hpp"

namespace fibers::testing {

/// What a body is known to do. A sweep over something that the body does not do would check nothing.
struct traits {
  bool allocates = true;
  bool has_choices = true;  // of which of its tasks runs next
};

template <class F>
void stands_anything(traits expected, F body) {
  CHECK(cancel_sweep(body, {.pairs = true}) > 1);  // it has a suspension point
  CHECK(timeout_sweep(body, {.pairs = true}) > 1);
  CHECK((failure_sweep(body) > 1) == expected.allocates);
  CHECK((explore(body, 200).choices > 0) == expected.has_choices);
}

template <class F>
void stands_anything(F body) {
  stands_anything(traits(), body);
}

}  // namespace fibers::testing
