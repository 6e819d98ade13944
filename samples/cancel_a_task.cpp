// SPDX-License-Identifier: BSL-1.0

// 1. Cancel a task
//
// cancel() makes a cancellation request. The task gets an exception, cancelled_error, at the call in which it waits. It
// catches the exception to clean up, and rethrows it. The task is then cancelled, and get() throws cancelled_error in
// the caller.
//
//   samples/run cancel_a_task
//
// You will see a task that sleeps for five seconds and is cancelled after two.

#include <fibers/fibers.hpp>
#include <iostream>
using namespace std::chrono_literals;

void long_task() {
  std::cout << "Task started\n";
  try {
    fibers::sleep_for(5s);
  } catch (fibers::cancelled_error const&) {
    std::cout << "Task was cancelled\n";
    throw;
  }
}

int main() {
  fibers::run([] {
    auto task = fibers::spawn(long_task);
    fibers::sleep_for(2s);
    task.cancel();
    try {
      task.get();
    } catch (fibers::cancelled_error const&) {
      std::cout << "Handled cancellation\n";
    }
  });
}
