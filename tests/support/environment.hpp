// SPDX-License-Identifier: BSL-1.0
#pragma once

// Support for tests of the test kit.

#include <cstdlib>
#include <fibers/testing/failure.hpp>
#include <string>

namespace fibers::testing {

/// Returns the failure that a sweep or an exploration has found; empty if none.
template <class Sweep>
std::string found(Sweep sweep) {
  try {
    sweep();
    return {};
  } catch (failure const& error) {
    return error.what();
  }
}

/// Sets an environment variable until its destruction.
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
