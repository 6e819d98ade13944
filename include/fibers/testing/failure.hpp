// SPDX-License-Identifier: BSL-1.0
#pragma once

// The exception of the test kit. It is thrown on the thread of the test, so that every test framework reports it.

#include <fibers/detail/parts/cxx20.hpp>
#include <stdexcept>

namespace fibers::testing {

/// The text says what is wrong, where, and how to repeat it.
class [[gnu::visibility("default")]] failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace fibers::testing
