// SPDX-License-Identifier: BSL-1.0

// 2. Cancel by timeout
//
// A timeout cancels an operation that takes too long, and waits until it has cleaned up. Inside, the timeout looks like
// any other cancellation: a cancelled_error. Outside, it is a timeout_error, whose text names the wait that was ended.
//
//   samples/run timeout
//
// You will see two timeouts of two seconds: around a task, and around a few lines of code, which need no task.

#include <fibers/fibers.hpp>
#include <iostream>
using namespace std::chrono_literals;

void long_task() {
  std::cout << "Task started\n";
  try {
    fibers::sleep_for(5s);
    std::cout << "Task finished\n";
  } catch (fibers::cancelled_error const&) {
    std::cout << "Task was cancelled\n";
    throw;
  }
}

void limit_a_task() {
  auto task = fibers::spawn(long_task);
  try {
    fibers::wait_for(task, 2s);
  } catch (fibers::timeout_error const&) {
    std::cout << "The task took too long\n";
  }
}

void limit_a_block() {
  try {
    fibers::with_timeout(2s, [] {
      std::cout << "Step 1\n";
      fibers::sleep_for(1s);
      std::cout << "Step 2\n";
      fibers::sleep_for(5s);
      std::cout << "Step 3\n";
    });
  } catch (fibers::timeout_error const&) {
    std::cout << "The block took too long\n";
  }
}

int main() {
  fibers::run([] {
    limit_a_task();
    limit_a_block();
  });
}
