// SPDX-License-Identifier: BSL-1.0

// 9. Wait for several functions together
//
// gather() runs functions concurrently and returns their results in the order of its arguments. With return_exceptions
// it returns outcomes, a value or an error each, so a cancelled one does not hide the others.
//
//   samples/run wait_for_several
//
// You will see two results, the slower one first; then two tasks that are cancelled while they wait for others, beside
// a third that is not cancelled.

#include <fibers/fibers.hpp>
#include <iostream>
#include <string>
using namespace std::chrono_literals;

std::string cook(std::string const& dish, fibers::duration time) {
  try {
    fibers::sleep_for(time);
    std::cout << dish << " is ready\n";
    return dish;
  } catch (fibers::cancelled_error const&) {
    std::cout << dish << " was taken off the stove\n";
    throw;
  }
}

std::string serve(std::string const& dish, fibers::duration time) {
  auto cooking = fibers::spawn([&] { return cook(dish, time); });
  return "a plate of " + cooking.get();  // a cancellation here is forwarded to the cook
}

std::string describe(fibers::outcome<std::string> const& outcome) {
  try {
    return outcome.value();
  } catch (fibers::cancelled_error const& error) {
    return "nothing (" + error.message() + ")";
  }
}

int main() {
  fibers::run([] {
    auto [lunch, dessert] = fibers::gather([] { return cook("soup", 2s); }, [] { return cook("cake", 1s); });
    std::cout << "1: " << lunch << ", 2: " << dessert << '\n';

    auto first = fibers::spawn([] { return serve("soup", 5s); });
    auto second = fibers::spawn([] { return serve("rice", 5s); });
    auto third = fibers::spawn([] { return serve("cake", 3s); });
    fibers::sleep_for(2s);
    first.cancel("the guest has left");
    second.cancel("the guest wants fish");

    auto [one, two, three] = fibers::gather(fibers::return_exceptions, first, second, third);
    std::cout << "1: " << describe(one) << '\n';
    std::cout << "2: " << describe(two) << '\n';
    std::cout << "3: " << describe(three) << '\n';
  });
}
