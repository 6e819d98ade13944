// SPDX-License-Identifier: BSL-1.0

// 6. Protect an operation
//
// A task that is cancelled in get() forwards the request to the task for which it waits. shield() waits without
// forwarding. with_shield() keeps requests pending, so its body is not interrupted. Shield only what must not be
// interrupted, because nothing can stop it.
//
//   samples/run protect_an_operation
//
// You will see a task that is cancelled while it waits for another, and the other finish nevertheless; then a transfer
// that is cancelled in the middle, which takes effect once both accounts are right.

#include <fibers/fibers.hpp>
#include <iostream>
#include <string>
using namespace std::chrono_literals;

std::string print_report() {
  std::cout << "Printing\n";
  fibers::sleep_for(5s);
  std::cout << "Printed\n";
  return "three pages";
}

void protect_a_task() {
  auto printing = fibers::spawn(print_report);
  auto impatient = fibers::spawn([&] {
    try {
      fibers::shield(printing);
    } catch (fibers::cancelled_error const&) {
      std::cout << "Waiting was cancelled\n";
      throw;
    }
  });
  fibers::sleep_for(2s);
  impatient.cancel_and_wait();
  auto const report = printing.get();
  std::cout << "Result: " << report << '\n';
}

void transfer(int& from, int& to, int amount) {
  fibers::with_shield([&] {
    from -= amount;
    fibers::sleep_for(1s);
    to += amount;
  });
  fibers::sleep_for(1s);  // delivers the request
  std::cout << "Sent a receipt\n";
}

void protect_a_block() {
  int savings = 100, purse = 0;
  auto transferring = fibers::spawn([&] { transfer(savings, purse, 30); });
  fibers::sleep_for(500ms);
  transferring.cancel_and_wait();
  std::cout << "Savings " << savings << ", purse " << purse << '\n';
}

int main() {
  fibers::run([] {
    protect_a_task();
    protect_a_block();
  });
}
