// SPDX-License-Identifier: BSL-1.0
#include <fibers/error.hpp>
#include <fibers/outcome.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "catch.hpp"

using fibers::outcome;

TEST_CASE("outcome: holds a value, also a move-only one or none at all") {
  outcome<std::unique_ptr<int>> made(std::make_unique<int>(5));
  REQUIRE(made.has_value());
  CHECK(*std::move(made).value() == 5);
  CHECK(outcome<void>().has_value());
}

TEST_CASE("outcome: value() throws the exception that it holds") {
  outcome<int> const failed(std::make_exception_ptr(std::runtime_error("no")));
  CHECK(failed.has_error());
  CHECK_THROWS_AS(failed.value(), std::runtime_error);
  CHECK_THROWS_WITH(failed.value(), "no");
}

TEST_CASE("outcome: value() throws a cancellation as cancelled_error") {
  outcome<void> const cancelled(std::make_exception_ptr(fibers::cancelled_error("stop")));
  std::string message;
  try {
    cancelled.value();
  } catch (fibers::cancelled_error const& error) {
    message = error.message();
  }
  CHECK(message == "stop");
}
