// SPDX-License-Identifier: BSL-1.0
#pragma once

// The door into a program: runs a callable as the main task of a loop on this thread.
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
  /// In virtual time nobody waits: when nothing can run, the clock jumps to the next deadline, and if nothing can ever
  /// run again, deadlock_error says who waits where. The environment variable FIBERS_CLOCK=virtual does the same to a
  /// program as it is.
  clock_kind clock = clock_kind::steady;

  /// Of each task, in bytes. It is address space: memory is used as it is touched. From 16 KiB to 1 GiB.
  std::size_t stack_size = 256 * 1024;

  /// How many threads run tasks. Only 1 is possible as yet: for more, call run() on threads of your own; tasks, handles
  /// and primitives may be shared between them.
  std::size_t threads = 1;

  /// The first of these signals cancels the main task; if that ends cancelled, run() throws interrupted_error. After
  /// the first, and from the end of the main task on, each does again what it did before: a second Ctrl-C ends the
  /// program, and so does a first one while run() waits for the tasks that are left.
  std::vector<int> cancel_on_signals = {};

  /// When tasks that run() has cancelled at its end take longer than this, stderr says which and where, and again after
  /// twice the time.
  duration shutdown_report_after = std::chrono::seconds(10);

  /// A time limit for the end of run(): tasks that run() has cancelled at its end, and that take longer, are cancelled
  /// again, and again each time this much later; stderr says which. By default they are cancelled once, since a further
  /// cancellation cuts clean-up short.
  duration cancel_again_after = no_timeout;

  /// Told of exceptions that nobody fetched; none: stderr is.
  unhandled_exception_hook on_unhandled = {};
};

namespace detail {
/// The loop sleeps so; null: as loops on this thread do.
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

/// Runs `main` as a task, named "main", and waits for it; then cancels whatever tasks are left, and waits for those.
/// The calling thread runs the loop meanwhile. Returns what main returns, or throws what left it: interrupted_error if
/// that is a cancellation by a signal. Throws deadlock_error in virtual time, invalid_state_error if this thread runs a
/// loop already, std::invalid_argument for options that make no sense.
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
