// SPDX-License-Identifier: BSL-1.0
#pragma once

// Cancellation for programs on Boost.Fiber, which has none of its own. Link Boost.Fiber, and include this header. Then
// any Boost fiber can call fibers::run(), which suspends only that fiber, and tasks and Boost fibers can wait for each
// other.
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
//   sender s(channel); s.put(item)               any thread-safe function: event::set(), queue::try_put() …
//   call(f): other functions that may suspend
//
// Precondition: a task does not itself call a function that suspends a Boost fiber (a lock, a sleep, future::get(), or
// promise::set_value() while another thread uses the future), and starts none with launch::dispatch. Such a call
// suspends the Boost fiber on which the loop runs, and with it all tasks of the loop. Nothing is lost, and other Boost
// fibers continue. Precondition: until the call returns, these fibers do not call run() or wait for tasks, and no
// second loop on the thread makes such a call.
//
// The Boost fiber on which a loop runs must stay on its thread; otherwise the loop ends the program. The main fiber of
// a thread always stays. Other fibers stay unless the thread uses shared_work or work_stealing.
//
// In virtual time, a task's wait for a Boost fiber takes real time, as all waits for the outside do. Any other wait,
// such as for an event that a Boost fiber sets, is a deadlock when no task can run and Boost fibers have had 200 turns.
// Precondition: two loops in virtual time on one thread do not wait for each other, since that counts as a deadlock.
//
// Up to Boost 1.87, Boost fibers share the state of exceptions: if two of them wait in a handler, `throw;` may throw
// the exception of the other. Tasks have their own state. Do not call run() on a Boost fiber in a handler that
// rethrows.

#include <fibers/boost_fiber/call.hpp>
#include <fibers/boost_fiber/future.hpp>
#include <fibers/boost_fiber/host.hpp>
#include <fibers/boost_fiber/receiver.hpp>
#include <fibers/boost_fiber/sender.hpp>
#include <fibers/boost_fiber/task_bridge.hpp>
