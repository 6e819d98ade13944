// SPDX-License-Identifier: BSL-1.0

// The examples of "Test your program" (README.md in this folder) for Catch2.

#if __has_include(<catch2/catch.hpp>)
#include <catch2/catch.hpp>
#else
#include <catch2/catch_all.hpp>
#endif

#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <fibers/testing/leak_check.hpp>
#include <set>
#include <string>

#include "example.hpp"

using namespace std::chrono_literals;
using fibers::testing::advance;
using fibers::testing::wait_all_blocked;

TEST_CASE("a transfer that is cancelled at any point is complete or has not happened") {
  fibers::testing::cancel_sweep([] {
    bank accounts{.a = 10, .b = 0};
    fibers::cleanup_guard const check([&] {
      if (accounts.a + accounts.b != 10) throw std::logic_error("money was lost");
    });
    accounts.transfer(5);
  });
}

TEST_CASE("a transfer survives a timeout at any point, and any failed allocation") {
  auto const body = [] {
    bank accounts{.a = 10, .b = 0};
    accounts.transfer(5);
  };
  fibers::testing::timeout_sweep(body);
  fibers::testing::failure_sweep(body);
}

TEST_CASE("two concurrent transfers lose no money in any order of their steps") {
  auto const body = [] {
    bank accounts{.a = 10, .b = 0};
    fibers::gather([&] { accounts.transfer(5); }, [&] { accounts.transfer(3); });
    if (accounts.a != 2 || accounts.b != 8) throw std::logic_error("money was lost");
  };
  fibers::testing::explore(body, 500);
  auto const all = fibers::testing::explore(body, fibers::testing::systematic{.preemptions = 2});
  CHECK(all.complete);
}

TEST_CASE("the search begins after a second without input") {
  std::string searched;
  fibers::run({.clock = fibers::clock_kind::virtual_time}, [&] {
    search_field field([&](std::string const& text) { searched = text; });
    field.type("f");
    advance(900ms);
    field.type("fi");
    advance(900ms);
    CHECK(searched == "");
    advance(100ms);
    CHECK(searched == "fi");
  });
}

TEST_CASE("the worker waits for work at once") {
  fibers::run({.clock = fibers::clock_kind::virtual_time}, [] {
    bool waits = false;
    fibers::queue<int> work;
    auto worker = fibers::spawn([&] {
      waits = true;
      work.get();
    });
    wait_all_blocked();
    CHECK(waits);
    worker.cancel_and_wait();
  });
}

TEST_CASE("balance() contains no suspension point, transfer() does") {
  fibers::run({.clock = fibers::clock_kind::virtual_time}, [] {
    bank accounts{.a = 10, .b = 0};
    fibers::testing::expect_no_suspension_point([&] { return accounts.balance(); });
    fibers::testing::expect_suspension_point([&] { accounts.transfer(5); });
  });
}

TEST_CASE_METHOD(fibers::testing::leak_check, "a transfer leaves nothing behind") {
  fibers::run({.clock = fibers::clock_kind::virtual_time}, [] {
    bank accounts{.a = 10, .b = 0};
    accounts.transfer(5);
  });
}
