// SPDX-License-Identifier: BSL-1.0
#pragma once

// Cancellation for programs on Boost.Fiber, which has none of its own. Link Boost.Fiber, and include this: then
// fibers::run() can be called on any Boost fiber, stops only that one, and its tasks and the Boost fibers can wait for
// each other.
//
//   boost::fibers::future<page> download = boost::fibers::async(fetch, "…");
//   fibers::run([&] {
//     auto const got = fibers::move_on_after(2s, [&] { return fibers::boost_fiber::get(download); });
//     …
//   });
//
//   within a task                                within a Boost fiber
//   get(future), wait(future)                    wait(task), get(task)
//   receiver r(channel); r.get()                 task.cancel()
//   sender s(channel); s.put(item)               whatever else is for any thread: event::set(), queue::try_put() …
//   call(f): anything else that may stop
//
// A task must not itself call what stops a Boost fiber (a lock, a sleep, future::get(), or promise::set_value() while
// another thread looks at the future; nor start one with launch::dispatch): the Boost fiber that it would stop is the
// one on which its loop runs, and with it all the loop's tasks. Nothing is lost by it, and the other Boost fibers go
// on, but meanwhile they must not call run(), nor wait for tasks, nor a second loop on the thread do the same.
//
// The Boost fiber on which a loop runs must stay on its thread: the main fiber of a thread always does, another one
// unless the thread uses shared_work or work_stealing.
//
// In virtual time, waits of tasks for Boost fibers take the time they really take, as all waits for the outside do. A
// wait for anything else, such as an event that a Boost fiber is to set, is a deadlock when no task can run, and Boost
// fibers have had 200 turns. So two loops in virtual time on one thread must not wait for each other.
//
// Up to Boost 1.87, Boost fibers share the state of exceptions: between two that wait in a handler, `throw;` may throw
// what the other one caught. Tasks never do. But do not call run() on a Boost fiber in a handler that throws on after.

#include <fibers/boost_fiber/call.hpp>
#include <fibers/boost_fiber/future.hpp>
#include <fibers/boost_fiber/host.hpp>
#include <fibers/boost_fiber/receiver.hpp>
#include <fibers/boost_fiber/sender.hpp>
#include <fibers/boost_fiber/task_bridge.hpp>
