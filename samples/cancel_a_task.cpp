// SPDX-License-Identifier: BSL-1.0

// 1. Cancel a task
//
// cancel() asks a task to stop. The request arrives inside it as an exception, cancelled_error, at the place where it
// waits. The task catches it to clean up and throws it on; so it ends cancelled, and get() tells whoever waits for it.
//
//   samples/run cancel_a_task
//
// You will see a task that wants to sleep for five seconds, and is cancelled after two.

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
