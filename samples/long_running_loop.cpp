// SPDX-License-Identifier: BSL-1.0

// 5. Cancel a long-running loop
//
// A loop that waits in each iteration needs nothing else: the wait is a cancellation point. A loop that only computes
// calls this_task::checkpoint(), which delivers a pending request and lets other tasks run. It takes a few nanoseconds.
//
//   samples/run long_running_loop
//
// You will see a loop that is cancelled in its fourth iteration, after three and a half seconds, and then a busy loop.

#include <fibers/fibers.hpp>
#include <iostream>
using namespace std::chrono_literals;

void tick() {
  try {
    for (int iteration = 1;; ++iteration) {
      fibers::sleep_for(1s);
      std::cout << "iteration " << iteration << '\n';
    }
  } catch (fibers::cancelled_error const&) {
    std::cout << "Task was cancelled during loop execution\n";
    throw;
  }
}

void count(long& steps) {
  for (;;) {
    ++steps;
    fibers::this_task::checkpoint();
  }
}

int main() {
  fibers::run([] {
    auto ticking = fibers::spawn(tick);
    fibers::sleep_for(3500ms);
    ticking.cancel_and_wait();

    long steps = 0;
    auto counting = fibers::spawn([&] { count(steps); });
    while (steps < 1'000'000) fibers::this_task::yield();
    counting.cancel_and_wait();
    std::cout << "Busy loop was cancelled after a million steps\n";
  });
}
