// SPDX-License-Identifier: BSL-1.0

// A plugin that hides its symbols and runs loops on Boost fibers.

#include <fibers/boost_fiber.hpp>
#include <fibers/fibers.hpp>

/// Runs a loop whose task waits for a Boost fiber.
extern "C" [[gnu::visibility("default")]] int run_on_a_boost_fiber() {
  fibers::boost_fiber::host const host;
  return fibers::run([] { return fibers::boost_fiber::call([] { return 7; }); });
}
