// SPDX-License-Identifier: BSL-1.0
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
