// SPDX-License-Identifier: BSL-1.0
#pragma once

// What tests of the test kit share.

#include <cstdlib>
#include <fibers/testing/failure.hpp>
#include <string>

namespace fibers::testing {

/// What a sweep or an exploration has found; empty if nothing.
template <class Sweep>
std::string found(Sweep sweep) {
  try {
    sweep();
    return {};
  } catch (failure const& error) {
    return error.what();
  }
}

/// Sets a variable of the environment while it lives.
class environment {
 public:
  environment(char const* name, std::string const& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  environment(environment const&) = delete;
  environment& operator=(environment const&) = delete;
  ~environment() { ::unsetenv(name_); }

 private:
  char const* name_;
};

}  // namespace fibers::testing
