// SPDX-License-Identifier: BSL-1.0
#pragma once

// For tests of programs: what happens if it is cancelled just there, and what if the others had run first?
//
//   fibers::testing::cancel_sweep([] {
//     fibers::with_task_group([](fibers::task_group& group) { … });
//   });
//
// A body runs as the main task of a loop of its own, in virtual time, again and again. It must do the same each time,
// make what it works with anew, and not end with an exception. What goes wrong comes out of the call as `failure`, in
// the thread of the test, and its text says how to repeat that one run.

#include <fibers/testing/explore.hpp>
#include <fibers/testing/failure.hpp>
#include <fibers/testing/suspension_point.hpp>
#include <fibers/testing/sweep.hpp>
#include <fibers/testing/time.hpp>
