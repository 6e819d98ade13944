// SPDX-License-Identifier: BSL-1.0

#include <fibers/latch.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <stdexcept>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::latch;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(virtual_time, "latch: wakes all waiters at zero, and stays open") {
  run([&] {
    latch l(2);
    auto a = spawn([&] {
      l.wait();
      seen("a");
    });
    auto b = spawn([&] {
      l.arrive_and_wait();
      seen("b");
    });
    sleep_for(1s);
    seen(l.try_wait() ? "zero" : "not yet");
    l.count_down();
    a.get();
    b.get();
    l.wait();
    seen(l.try_wait() ? "zero" : "not yet");
  });
  CHECK(seen == "not yet@1, a@1, b@1, zero@1");
}

TEST_CASE("latch: invalid numbers are refused, and change nothing") {
  CHECK_THROWS_AS(latch(-1), std::invalid_argument);
  CHECK(latch(0).try_wait());
  latch l(2);
  CHECK_THROWS_AS(l.count_down(3), std::invalid_argument);
  CHECK_THROWS_AS(l.count_down(-1), std::invalid_argument);
  l.count_down(0);
  CHECK_FALSE(l.try_wait());
  l.count_down(2);
  CHECK(l.try_wait());
}

TEST_CASE_METHOD(
    virtual_time,
    "latch: a cancel in arrive_and_wait leaves the arrival counted; a cancel before it prevents the arrival") {
  run([&] {
    latch l(2);
    auto a = spawn([&] { l.arrive_and_wait(); });
    this_task::yield();
    a.cancel();
    seen(how([&] { a.get(); }));
    this_task::cancel();
    seen(how([&] { l.arrive_and_wait(); }));
    seen(l.try_wait() ? "zero" : "one left");
    l.count_down();
    seen(l.try_wait() ? "zero" : "one left");
    this_task::uncancel();
  });
  CHECK(seen == "cancelled@0, cancelled@0, one left@0, zero@0");
}
