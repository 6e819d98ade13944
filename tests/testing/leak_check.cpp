// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
//
#include <fibers/fibers.hpp>
#include <fibers/testing/leak_check.hpp>
#include <stdexcept>

#include "record.hpp"

using Catch::Matchers::ContainsSubstring;
using fibers::testing::leak_check;

TEST_CASE_METHOD(leak_check, "leak_check: a case that leaves nothing passes") {
  fibers::run([] {
    fibers::queue<int> items(3);
    auto task = fibers::spawn([&] { items.put(1); });
    task.get();
  });
  CHECK(problem() == "");
}

TEST_CASE_METHOD(leak_check, "leak_check: a task that a handle keeps is found, until the handle is destroyed") {
  fibers::task_handle<> kept;
  fibers::run([&] { kept = fibers::spawn([] {}).handle(); });
  CHECK_THAT(problem(), ContainsSubstring(" of the library's memory were not given back"));
  kept = {};
  CHECK(problem() == "");
}

TEST_CASE("leak_check: a case that an exception leaves is not failed once more") {
  bool left = false;
  try {
    leak_check const inner;
    fibers::run({.on_unhandled = [](auto&, auto) {}},
                [] { fibers::spawn([] { throw std::runtime_error("no"); }).wait(); });
    throw std::logic_error("the real failure");
  } catch (std::logic_error const&) {
    left = true;
  }
  CHECK(left);  // a failure would have come from the fixture
}

TEST_CASE_METHOD(leak_check, "leak_check: an unfetched exception fails the case", "[!shouldfail]") {
  fibers::run_options options;
  options.on_unhandled = [](std::string const&, std::exception_ptr const&) {};
  fibers::run(options, [] { fibers::spawn([] { throw std::runtime_error("unseen"); }).wait(); });
  CHECK_THAT(problem(), ContainsSubstring("1 exception was not fetched"));  // the only failure comes from the fixture
}
