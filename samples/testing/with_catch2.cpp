// SPDX-License-Identifier: BSL-1.0

// The examples of "Test your program" for Catch2; README.md beside this explains them.

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

TEST_CASE("a transfer is made whole or not at all, whenever it is cancelled") {
  fibers::testing::cancel_sweep([] {
    bank accounts{.a = 10, .b = 0};
    fibers::cleanup_guard const check([&] {
      if (accounts.a + accounts.b != 10) throw std::logic_error("money was lost");
    });
    accounts.transfer(5);
  });
}

TEST_CASE("a transfer is made whole or not at all, whenever time is up, and when memory is short") {
  auto const body = [] {
    bank accounts{.a = 10, .b = 0};
    accounts.transfer(5);
  };
  fibers::testing::timeout_sweep(body);
  fibers::testing::failure_sweep(body);
}

TEST_CASE("two transfers at once lose nothing, in whichever order their steps come") {
  auto const body = [] {
    bank accounts{.a = 10, .b = 0};
    fibers::gather([&] { accounts.transfer(5); }, [&] { accounts.transfer(3); });
    if (accounts.a != 2 || accounts.b != 8) throw std::logic_error("money was lost");
  };
  fibers::testing::explore(body, 500);
  auto const all = fibers::testing::explore(body, fibers::testing::systematic{.preemptions = 2});
  CHECK(all.complete);
}

TEST_CASE("the search begins when nobody has typed for a second") {
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

TEST_CASE("the worker waits for work before any time has passed") {
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

TEST_CASE("asking for the balance cannot be interrupted, a transfer can") {
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
