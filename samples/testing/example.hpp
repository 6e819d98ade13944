// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the examples test.

#include <fibers/fibers.hpp>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

struct bank {
  int a = 0, b = 0;
  fibers::mutex lock = {};

  int balance() const { return a + b; }

  void transfer(int amount) {
    std::scoped_lock const held(lock);
    fibers::sleep_for(std::chrono::milliseconds(10));  // asks whether that is allowed
    fibers::with_shield([&] {
      a -= amount;
      fibers::sleep_for(std::chrono::milliseconds(10));  // writes it down
      b += amount;
    });
  }
};

// Searches for what was typed, once nobody has typed for a second.
class search_field {
 public:
  explicit search_field(std::function<void(std::string const&)> search) : search_(std::move(search)) {}

  void type(std::string text) {
    waiting_ = fibers::spawn([this, text = std::move(text)] {
      fibers::sleep_for(std::chrono::seconds(1));
      search_(text);
    });
  }

 private:
  std::function<void(std::string const&)> search_;
  fibers::task<void> waiting_;  // a new one ends the old one
};
