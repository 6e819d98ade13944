// SPDX-License-Identifier: BSL-1.0

// 8. Handle cancellation explicitly
//
// cancelled_error is not derived from std::exception, so a handler for failures does not swallow a cancellation by
// accident. Handlers run from the innermost outwards, as always in C++. The last one determines the task's outcome.
//
//   samples/run handling_cancellation
//
// You will see three tasks, each cancelled after a second: one rethrows and is cancelled, one returns a value instead,
// one fails with an error of its own. A fourth waits for a task that is cancelled, and continues without its result.

#include <fibers/fibers.hpp>
#include <iostream>
#include <stdexcept>
#include <string>
using namespace std::chrono_literals;

std::string wait_for_mail() {
  try {
    fibers::sleep_for(5s);
    return "a letter";
  } catch (std::exception const&) {
    std::cout << "This is for failures, and not called\n";
    throw;
  } catch (fibers::cancelled_error const&) {
    std::cout << "Inner handler\n";
    throw;
  }
}

std::string throw_on() {
  try {
    return wait_for_mail();
  } catch (fibers::cancelled_error const&) {
    std::cout << "Outer handler\n";
    throw;
  }
}

std::string swallow() {
  try {
    return wait_for_mail();
  } catch (fibers::cancelled_error const&) {
    return "yesterday's letter";
  }
}

std::string fail() {
  try {
    return wait_for_mail();
  } catch (fibers::cancelled_error const&) {
    throw std::runtime_error("the postman was sent away");
  }
}

std::string do_without(fibers::task_handle<std::string> const& postman) {
  try {
    return postman.get();
  } catch (fibers::cancelled_error const& error) {
    if (fibers::this_task::is_own(error)) throw;  // this task was cancelled
    return "no letter today";                     // another task cancelled only the postman
  }
}

void cancel_after_a_second(std::string (*body)()) {
  auto task = fibers::spawn(body);
  fibers::sleep_for(1s);
  task.cancel();
  try {
    auto const mail = task.get();
    std::cout << "Task returned " << mail << '\n';
  } catch (fibers::cancelled_error const&) {
    std::cout << "Task was cancelled\n";
  } catch (std::exception const& error) {
    std::cout << "Task failed: " << error.what() << '\n';
  }
}

int main() {
  fibers::run([] {
    cancel_after_a_second(throw_on);
    cancel_after_a_second(swallow);
    cancel_after_a_second(fail);

    auto postman = fibers::spawn(throw_on);
    auto reader = fibers::spawn([&] { return do_without(postman.handle()); });
    fibers::sleep_for(1s);
    postman.cancel();
    auto const letter = reader.get();
    std::cout << "Reader returned " << letter << '\n';
  });
}
