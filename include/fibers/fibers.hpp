// SPDX-License-Identifier: BSL-1.0
#pragma once

// All headers except those for Asio, Boost.Fiber and tests, in reading order.

// clang-format off
#include <fibers/error.hpp>
#include <fibers/clock.hpp>
#include <fibers/outcome.hpp>

#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/task_local.hpp>

#include <fibers/timeout.hpp>
#include <fibers/shield.hpp>
#include <fibers/exception_group.hpp>
#include <fibers/task_group.hpp>
#include <fibers/wait.hpp>
#include <fibers/gather.hpp>
#include <fibers/race.hpp>

#include <fibers/event.hpp>
#include <fibers/mutex.hpp>
#include <fibers/shared_mutex.hpp>
#include <fibers/condition_variable.hpp>
#include <fibers/semaphore.hpp>
#include <fibers/for_each_concurrent.hpp>
#include <fibers/barrier.hpp>
#include <fibers/latch.hpp>
#include <fibers/queue.hpp>
#include <fibers/get_any.hpp>
// clang-format on
