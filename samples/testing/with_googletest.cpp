// SPDX-License-Identifier: BSL-1.0

// The examples of "Test your program" (README.md in this folder) for GoogleTest.

#include <gtest/gtest.h>
//
#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <fibers/testing/leak_check.hpp>
#include <stdexcept>
#include <string>

#include "example.hpp"

using namespace std::chrono_literals;

using bank_test = fibers::testing::leak_check_test;

TEST_F(bank_test, TransferIsWholeOrNotAtAll) {
  fibers::testing::cancel_sweep([] {
    bank accounts{.a = 10, .b = 0};
    accounts.transfer(5);
  });
}

TEST_F(bank_test, FailureNamesThePoint) {
  try {
    fibers::testing::cancel_sweep([] {
      try {
        fibers::sleep_for(1s);
      } catch (...) {
      }
    });
    FAIL() << "a swallowed request was not found";
  } catch (fibers::testing::failure const& failure) {
    EXPECT_NE(std::string(failure.what()).find("cancelled at point 1"), std::string::npos);
  }
}
