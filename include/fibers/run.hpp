// SPDX-License-Identifier: BSL-1.0
#pragma once

// Runs a callable as the main task of a loop on this thread.
//
//   int main() {
//     return fibers::run([] { … });
//   }

#include <boost/assert/source_location.hpp>
#include <chrono>
#include <cstddef>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/detail/parts/parker.hpp>
#include <memory>
#include <utility>
#include <vector>

namespace fibers {

struct run_options {
  /// In virtual time the clock jumps to the next deadline when no task is ready. If no task can ever run again, run()
  /// throws deadlock_error, which lists the waiting tasks. The environment variable FIBERS_CLOCK=virtual selects
  /// virtual time without a change of the program.
  clock_kind clock = clock_kind::steady;

  /// The stack size of each task in bytes, from 16 KiB to 1 GiB, of address space: a page takes memory once touched.
  std::size_t stack_size = 256 * 1024;

  /// The number of threads that run tasks. Only 1 is supported: for more, call run() on threads of your own, which may
  /// share tasks, handles and primitives.
  std::size_t threads = 1;

  /// The first of these signals cancels the main task. If the main task ends cancelled, run() throws interrupted_error.
  /// After the first signal, and after the end of the main task, signals have their former effect: a second Ctrl-C ends
  /// the program, and so does a first one while run() waits for the remaining tasks.
  std::vector<int> cancel_on_signals = {};

  /// If tasks that run() has cancelled at its end take longer than this, it lists them and their call sites on stderr,
  /// and again after twice the time.
  duration shutdown_report_after = std::chrono::seconds(10);

  /// A grace period at the end of run(): tasks that run() has cancelled and that take longer are cancelled again after
  /// each such period, and listed on stderr. By default run() cancels them once, since a further cancellation
  /// interrupts their clean-up.
  duration cancel_again_after = no_timeout;

  /// The hook for unhandled exceptions, which no caller has fetched. Without a hook they are printed to stderr.
  unhandled_exception_hook on_unhandled = {};
};

namespace detail {
/// As fibers::run(), with this parker; null selects the default parker of this thread's loops.
void run(run_options const& options, task_state& main, std::unique_ptr<parker> how_to_sleep,
         boost::source_location const& place);

template <body F>
result_of<F> run(run_options const& options, F&& main, std::unique_ptr<parker> how_to_sleep,
                 boost::source_location const& place) {
  auto const task = make_task(std::forward<F>(main));
  run(options, *task, std::move(how_to_sleep), place);
  return task->result().move_out();
}
}  // namespace detail

/// Runs `main` as a task named "main" on a loop of the calling thread. Returns its result.
///
/// When main has ended, cancels the remaining tasks and waits for them. Throws main's exception, or interrupted_error
/// if a signal has cancelled main; deadlock_error in virtual time; invalid_state_error if this thread runs a loop
/// already; std::invalid_argument for invalid options.
template <detail::body F>
detail::result_of<F> run(run_options const& options, F&& main,
                         boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::run(options, std::forward<F>(main), nullptr, place);
}

template <detail::body F>
detail::result_of<F> run(F&& main, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return run(run_options{}, std::forward<F>(main), place);
}

}  // namespace fibers
