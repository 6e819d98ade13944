// SPDX-License-Identifier: BSL-1.0
#pragma once

// Runs threads of the library through all interleavings of their atomic operations, up to a bound.
//
// The threads are real, but only one runs at a time: it holds the baton. Before each atomic operation (see atomic.hpp)
// the explorer decides which thread runs next. By default a thread runs until it waits. Each other decision is a
// departure; all schedules with at most so many departures are run, then some at random. With two threads a departure
// is a preemption. Memory is sequentially consistent here, and deadlines never pass: the thread sanitizer finds what
// weaker orders would break.
//
// Three kinds of faults end the exploration: a problem that the scenario reports, threads of which none can ever run
// again, and an operation on an atomic variable that was destroyed. The report has a number that repeats the
// interleaving: FIBERS_INTERLEAVING=number.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fibers::testing {

/// What is explored. It is made anew for each interleaving.
struct scenario {
  std::vector<std::function<void()>> threads;  // each calls interleave() once
  std::function<std::string()> problem;        // called when all threads have ended; empty: none
};

/// Called in each thread of a scenario: calls f() when all threads have got there. Only the operations in f are
/// interleaved.
void interleave(std::function<void()> const& f);

struct bounds {
  unsigned departures = 2;    // at most 3
  unsigned at_random = 2000;  // schedules with any number of departures
};

struct exploration {
  std::uint64_t interleavings = 0;
  std::string problem;       // empty: none
  std::uint64_t number = 0;  // of the interleaving with the problem
  std::string schedule;      // of that interleaving, or of the one that was to be repeated
};

exploration explore(std::function<scenario()> const& make, bounds limit = {});
/// Runs one interleaving.
exploration repeat(std::function<scenario()> const& make, std::uint64_t number);

}  // namespace fibers::testing

namespace fibers::detail::explored {
/// Was this fault chosen by plant()? The tree that is compiled for the exploration asks for each in its place.
bool planted(char const* fault) noexcept;
void plant(char const* fault) noexcept;  // null: none
}  // namespace fibers::detail::explored
