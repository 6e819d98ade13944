// SPDX-License-Identifier: BSL-1.0
#pragma once

// The exception of the test kit. It is thrown on the thread of the test, so that every test framework reports it.

#include <fibers/detail/parts/cxx20.hpp>
#include <stdexcept>

namespace fibers::testing {

/// Thrown if a test has failed. The text names the error, its call site, and how to repeat the run.
class [[gnu::visibility("default")]] failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace fibers::testing
