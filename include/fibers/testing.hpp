// SPDX-License-Identifier: BSL-1.0
#pragma once

// The test kit: runs a body with a cancellation, a timeout or a failed allocation at each point, and under many
// schedules.
//
//   fibers::testing::cancel_sweep([] {
//     fibers::with_task_group([](fibers::task_group& group) { … });
//   });
//
// The kit runs the body repeatedly, as the main task of a new loop in virtual time. Preconditions: the body is
// deterministic, creates its objects anew in each run, and throws no exception. The call throws `failure` for the first
// run that goes wrong, on the thread of the test. The text says how to repeat that run.

#include <fibers/testing/explore.hpp>
#include <fibers/testing/failure.hpp>
#include <fibers/testing/suspension_point.hpp>
#include <fibers/testing/sweep.hpp>
#include <fibers/testing/time.hpp>
