// SPDX-License-Identifier: BSL-1.0
#pragma once

// The programs under test.

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
    fibers::sleep_for(std::chrono::milliseconds(10));  // stands for a check of permissions
    fibers::with_shield([&] {
      a -= amount;
      fibers::sleep_for(std::chrono::milliseconds(10));  // stands for a write to a journal
      b += amount;
    });
  }
};

// Searches for the typed text after a second without further input (debouncing).
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
  fibers::task<void> waiting_;  // assigning a new task cancels the old one
};
