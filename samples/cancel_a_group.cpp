// SPDX-License-Identifier: BSL-1.0

// 3. Cancel several tasks in a group
//
// Tasks that belong together are spawned in a group. The group waits for all of them, so no task is forgotten.
// cancel_all() cancels all of them. If one fails, the others are cancelled, because their work is no longer needed.
//
//   samples/run cancel_a_group
//
// You will see three workers cancelled together after two seconds, then three more, of which the second fails. No
// worker finishes.

#include <fibers/fibers.hpp>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>
using namespace std::chrono_literals;

int work(int number) {
  std::cout << "Worker " << number << " started\n";
  fibers::sleep_for(5s);
  std::cout << "Worker " << number << " finished\n";
  return number;
}

std::string describe(fibers::outcome<int> const& outcome) {
  try {
    return "returned " + std::to_string(outcome.value());
  } catch (fibers::cancelled_error const& error) {
    return "was cancelled: " + error.message();
  } catch (std::exception const& error) {
    return std::string("failed: ") + error.what();
  }
}

void cancel_all_workers() {
  fibers::with_task_group([](fibers::task_group& group) {
    std::vector<fibers::task_handle<int>> workers;
    for (int number : {1, 2, 3}) workers.push_back(group.spawn([number] { return work(number); }));

    fibers::sleep_for(2s);
    group.cancel_all("no longer needed");

    for (auto const& outcome : fibers::gather(fibers::return_exceptions, workers)) {
      std::cout << "A worker " << describe(outcome) << '\n';
    }
  });
}

void let_one_worker_fail() {
  try {
    fibers::with_task_group([](fibers::task_group& group) {
      group.spawn([] { work(4); });
      group.spawn([] {
        fibers::sleep_for(2s);
        throw std::runtime_error("worker 5 has no paper");
      });
      group.spawn([] { work(6); });
    });
  } catch (fibers::exception_group const& errors) {
    errors.for_each<std::exception>(
        [](auto const& error) { std::cout << "The group failed: " << error.what() << '\n'; });
  }
}

int main() {
  fibers::run([] {
    cancel_all_workers();
    let_one_worker_fail();
  });
}
