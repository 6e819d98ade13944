// SPDX-License-Identifier: BSL-1.0

// 16. Cancellation for your Boost.Fiber program
//
// Boost.Fiber can cancel neither a fiber nor a wait. The example is a kitchen: two Boost fibers with a channel between
// them. Step by step the cook gets a timeout, can be cancelled, and shuts down without losing an order. The waiter is
// not changed.
//
//   samples/run boost_fiber
//
// You will see what the cook does in each of the four versions.

#include <boost/fiber/all.hpp>
#include <fibers/boost_fiber.hpp>
#include <fibers/fibers.hpp>
#include <iostream>
#include <string>
using namespace std::chrono_literals;

using order_channel = boost::fibers::buffered_channel<std::string>;

void cook(std::string const& dish) { std::cout << "cooked " << dish << '\n'; }

// The original program. If the waiter forgets to close the channel, the program never ends.
void as_it_was() {
  order_channel channel(8);
  boost::fibers::fiber waiter([&] {
    for (auto const* const dish : {"soup", "fish", "cake"}) channel.push(dish);
    channel.close();
  });
  boost::fibers::fiber kitchen([&] {
    for (auto const& dish : channel) cook(dish);
  });
  waiter.join();
  kitchen.join();
}

// Step 1. The cook runs inside fibers::run(), which suspends only the Boost fiber on which it is called. A receiver is
// the end of the channel for tasks. Its get() can be cancelled; an order that was on its way stays in the receiver.
void with_a_timeout() {
  order_channel channel(8);
  boost::fibers::fiber waiter([&] {
    for (auto const* const dish : {"soup", "fish"}) channel.push(dish);  // and forgets to close
  });
  boost::fibers::fiber kitchen([&] {
    fibers::run([&] {
      fibers::boost_fiber::receiver orders(channel);
      while (auto const dish = fibers::move_on_after(200ms, [&] { return orders.get(); })) cook(*dish);
      std::cout << "no order for a while\n";
    });
  });
  waiter.join();
  kitchen.join();
}

// Step 2. Any Boost fiber, on any thread, may cancel a task and wait for its end.
void with_a_cancel() {
  order_channel channel(8);
  channel.push("soup");
  boost::fibers::promise<fibers::task_handle<>> begun;
  boost::fibers::fiber owner([&] {
    auto const kitchen = begun.get_future().get();
    kitchen.cancel("the kitchen is on fire");
    fibers::boost_fiber::wait(kitchen);
    std::cout << "the owner locks the door\n";
  });
  fibers::run([&] {
    auto const kitchen = fibers::spawn([&] {
      fibers::boost_fiber::receiver orders(channel);
      try {
        for (auto const& dish : orders) cook(dish);
      } catch (fibers::cancelled_error const& error) {
        std::cout << "stopped: " << error.message() << '\n';
        throw;
      }
    });
    begun.set_value(kitchen.handle());
    kitchen.wait();
  });
  owner.join();
}

// Step 3. At closing time the channel is closed. The cook still cooks the orders that were accepted, within a second.
void with_a_clean_shutdown() {
  order_channel channel(8);
  boost::fibers::promise<void> closing_time;
  int taken = 0, cooked = 0;
  boost::fibers::fiber waiter([&] {
    while (channel.push("stew") == boost::fibers::channel_op_status::success) {
      if (++taken == 20) closing_time.set_value();
    }
  });
  fibers::run([&] {
    fibers::boost_fiber::receiver orders(channel);
    auto const cook_all = [&] {
      for ([[maybe_unused]] auto const& dish : orders) ++cooked;
    };
    auto clock = closing_time.get_future();
    fibers::race(cook_all, [&] { fibers::boost_fiber::get(clock); });

    channel.close();
    fibers::with_timeout(1s, cook_all);
  });
  waiter.join();
  std::cout << (cooked == taken ? "every order was cooked\n" : "somebody is still hungry\n");
}

int main() {
  as_it_was();
  with_a_timeout();
  with_a_cancel();
  with_a_clean_shutdown();
}
