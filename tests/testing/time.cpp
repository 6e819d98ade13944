// SPDX-License-Identifier: BSL-1.0

#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::advance;
using fibers::testing::how;
using fibers::testing::virtual_time;
using fibers::testing::wait_all_blocked;

TEST_CASE_METHOD(virtual_time, "wait_all_blocked: continues when all others wait, and before the clock moves") {
  run([&] {
    fibers::event go;
    auto quick = spawn([&] {
      for (int i = 0; i < 3; ++i) fibers::this_task::yield();
      seen("quick is done");
      go.set();
    });
    auto waits = spawn([&] {
      go.wait();
      seen("has waited");
      sleep_for(1s);
      seen("has slept");
    });
    wait_all_blocked();
    seen("all blocked");
    waits.get();
  });
  CHECK(seen == "quick is done@0, has waited@0, all blocked@0, has slept@1");
}

TEST_CASE_METHOD(virtual_time,
                 "wait_all_blocked: several callers continue together, and a single task continues at once") {
  run([&] {
    wait_all_blocked();
    auto other = spawn([&] {
      wait_all_blocked();
      seen("other");
    });
    wait_all_blocked();
    seen("main");
    other.get();
  });
  CHECK(seen == "main@0, other@0");
}

TEST_CASE_METHOD(virtual_time, "wait_all_blocked: can be cancelled, timed out and raced, and leaves nothing behind") {
  run([&] {
    auto busy = spawn([] {
      for (;;) fibers::this_task::yield();
    });
    auto waits = spawn([] { wait_all_blocked(); });
    for (int i = 0; i < 3; ++i) fibers::this_task::yield();
    waits.cancel("enough");
    seen(how([&] { waits.get(); }));
    seen(how([] { fibers::with_timeout(0s, [] { wait_all_blocked(); }); }).substr(0, 6));
    seen(how([] {
      return fibers::race(
          [] {
            wait_all_blocked();
            return 1;
          },
          [] { return 2; });
    }));
    busy.cancel_and_wait();
    wait_all_blocked();
  });
  CHECK(seen == "cancelled: enough@0, failed@0, returned 2@0");
}

TEST_CASE_METHOD(virtual_time, "wait_all_blocked: returns before a deadlock is reported") {
  run([&] {
    fibers::event never;
    auto stuck = spawn([&] { never.wait(); });
    wait_all_blocked();
    seen("looks");
    never.set();
    stuck.get();
  });
  CHECK(seen == "looks@0");
}

TEST_CASE_METHOD(virtual_time, "advance: everything due by then has happened, and nothing else") {
  run([&] {
    auto ticks = spawn([&] {
      for (;;) {
        sleep_for(1s);
        seen("tick");
      }
    });
    wait_all_blocked();
    advance(2s);
    seen("moved by two");
    advance(500ms);
    seen("and a half");
    advance(0s);
    ticks.cancel_and_wait();
  });
  CHECK(seen == "tick@1, tick@2, moved by two@2, and a half@2.5");
}

TEST_CASE_METHOD(virtual_time, "advance: can be cancelled half-way, and needs a virtual clock") {
  run([&] {
    auto moves = spawn([] { advance(10s); });
    sleep_for(3s);
    moves.cancel();
    seen(how([&] { moves.get(); }));
  });
  fibers::run([&] { seen(how([] { advance(1h); }).substr(0, 52)); });
  CHECK_THAT(seen.text(),
             Catch::Matchers::ContainsSubstring("cancelled@3, failed: fibers: testing::advance() moves virtual"));
}
