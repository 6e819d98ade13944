// SPDX-License-Identifier: BSL-1.0

#include <fibers/event.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <thread>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::event;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(virtual_time, "event: set wakes all waiters in FIFO order", "[EVT-01]") {
  run([&] {
    event happened;
    auto const waits = [&](std::string name) {
      return [&, name] {
        happened.wait();
        seen(name);
      };
    };
    auto a = spawn(waits("a"));
    auto b = spawn(waits("b"));
    auto c = spawn(waits("c"));
    sleep_for(1s);
    happened.set();
    happened.wait();
    seen("newcomer");
    c.get();
  });
  CHECK(seen == "newcomer@1, a@1, b@1, c@1");
}

TEST_CASE_METHOD(virtual_time, "event: waiting for a set event does not suspend", "[EVT-02]") {
  run([&] {
    event happened;
    happened.set();
    auto other = spawn([&] { seen("other"); });
    happened.wait();
    seen("main");
    other.get();
  });
  CHECK(seen == "main@0, other@0");
}

TEST_CASE_METHOD(virtual_time, "event: a cancelled waiter leaves the list, and the others still wait", "[EVT-03]") {
  run([&] {
    event happened;
    auto a = spawn([&] { happened.wait(); });
    auto b = spawn([&] { happened.wait(); });
    sleep_for(1s);
    a.cancel("enough");
    seen(how([&] { a.get(); }));
    happened.set();
    seen(how([&] { b.get(); }));
  });
  CHECK(seen == "cancelled: enough@1, returned@1");
}

TEST_CASE_METHOD(virtual_time, "event: after clear the next wait suspends again", "[EVT-04]") {
  run([&] {
    event happened;
    happened.set();
    happened.clear();
    CHECK_FALSE(happened.is_set());
    seen(how([&] { fibers::with_timeout(1s, [&] { happened.wait(); }); }).substr(0, 24));
  });
  CHECK(seen == "failed: timed out after @1");
}

TEST_CASE_METHOD(virtual_time, "event: a woken wait() returns, whatever becomes of the event before it runs",
                 "[EVT-05][EVT-06]") {
  run([&] {
    event happened;
    int passed = 0;
    auto a = spawn([&] {
      happened.wait();
      ++passed;
    });
    this_task::yield();
    happened.set();
    happened.clear();
    happened.set();
    happened.set();
    happened.clear();
    a.get();
    seen(std::to_string(passed));
    seen(happened.is_set() ? "set" : "clear");
  });
  CHECK(seen == "1@0, clear@0");
}

TEST_CASE_METHOD(virtual_time, "event: if set comes before cancel, the wait returns, and the request stays pending",
                 "[EVT-07]") {
  run([&] {
    event happened;
    auto a = spawn([&] {
      happened.wait();
      seen("went on");
      sleep_for(1s);
    });
    this_task::yield();
    happened.set();
    a.cancel();
    seen(how([&] { a.get(); }));
    seen(happened.is_set() ? "set" : "clear");
  });
  CHECK(seen == "went on@0, cancelled@0, set@0");
}

TEST_CASE_METHOD(virtual_time, "event: a woken waiter may destroy the event") {
  run([&] {
    auto happened = std::make_unique<event>();
    auto a = spawn([&] {
      happened->wait();
      happened.reset();
    });
    auto b = spawn([&, &e = *happened] { e.wait(); });
    this_task::yield();
    happened->set();
    seen(how([&] { a.get(); }));
    seen(how([&] { b.get(); }));
  });
  CHECK(seen == "returned@0, returned@0");
}

TEST_CASE_METHOD(virtual_time, "event: waiters of a destroyed event get an error that says so") {
  run([&] {
    auto happened = std::make_unique<event>();
    auto a = spawn("hopeful", [&, &e = *happened] { e.wait(); });
    auto b = spawn([&, &e = *happened] { e.wait(); });
    this_task::yield();
    b.cancel();
    happened.reset();
    seen(how([&] { a.get(); }).substr(0, 41));
    seen(how([&] { b.get(); }));
  });
  CHECK(seen == "failed: fibers: task 'hopeful' waited for@0, cancelled@0");
}

TEST_CASE("event: a plain thread may set it") {
  bool set_before = true, set_after = false;
  fibers::run([&] {
    event happened;
    set_before = happened.is_set();
    std::thread other([&] { happened.set(); });
    fibers::with_timeout(60s, [&] { happened.wait(); });
    set_after = happened.is_set();
    other.join();
  });
  CHECK_FALSE(set_before);
  CHECK(set_after);
}
