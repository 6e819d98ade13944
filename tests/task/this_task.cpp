// SPDX-License-Identifier: BSL-1.0

// Functions of the running task: its identity, yielding, sleeping, and withdrawing requests.

#include <cmath>
#include <fibers/this_task.hpp>
#include <mutex>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::invalid_state_error;
using fibers::sleep_for;
using fibers::sleep_until;
using fibers::spawn;
using fibers::task_handle;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

// --- identity ---

TEST_CASE_METHOD(virtual_time, "this_task: is the same before and after each suspension, however tasks interleave",
                 "[TASK-07]") {
  int right = 0;
  run([&] {
    auto const check = [&right](std::string const& name) {
      return [&right, name] {
        auto const id = this_task::id();
        for (int i = 0; i != 10; ++i) {
          right += this_task::name() == name && this_task::id() == id && this_task::handle().id() == id ? 1 : 0;
          i % 2 == 0 ? this_task::yield() : sleep_for(1s);
        }
      };
    };
    auto const a = spawn("a", check("a"));
    auto const b = spawn("b", check("b"));
    auto const c = spawn("c", check("c"));
    check("main")();
    a.wait();
    b.wait();
    c.wait();
  });
  CHECK(right == 40);
}

TEST_CASE("this_task: outside run() every function says what to do", "[TASK-07]") {
  auto const needs_a_task = ContainsSubstring("call it inside of fibers::run([] { … }) (this_task.cpp:");
  CHECK_THROWS_WITH(this_task::yield(), needs_a_task);
  CHECK_THROWS_WITH(this_task::checkpoint(), needs_a_task);
  CHECK_THROWS_WITH(this_task::cancel(), needs_a_task);
  CHECK_THROWS_WITH(this_task::cancelling(), needs_a_task);
  CHECK_THROWS_WITH(this_task::uncancel(), needs_a_task);
  CHECK_THROWS_WITH(this_task::name(), needs_a_task);
  CHECK_THROWS_WITH(this_task::id(), needs_a_task);
  CHECK_THROWS_WITH(this_task::handle(), needs_a_task);
  CHECK_THROWS_WITH(this_task::stop_token(), needs_a_task);
  CHECK_THROWS_WITH(sleep_for(1s), needs_a_task);
  CHECK_THROWS_WITH(sleep_for(0s), needs_a_task);
  CHECK_THROWS_WITH(sleep_for(fibers::no_timeout), needs_a_task);
  CHECK_THROWS_WITH(sleep_until(fibers::clock::now()), needs_a_task);
  CHECK_THROWS_AS(this_task::yield(), invalid_state_error);
}

// --- yielding ---

TEST_CASE_METHOD(virtual_time, "yield: a task alone continues, also if that is the first thing it does") {
  run([&] {
    seen("begins");
    this_task::yield();
    seen("goes on");
  });
  CHECK(seen == "begins@0, goes on@0");
}

TEST_CASE_METHOD(virtual_time, "yield: tasks that were ready before run before it continues, once", "[TASK-47]") {
  bool const zero_sleep = GENERATE(true, false);
  run([&] {
    auto const other = spawn([&] {
      for (int i = 0; i != 3; ++i) {
        seen("other");
        this_task::yield();
      }
    });
    for (int i = 0; i != 3; ++i) {
      zero_sleep ? sleep_for(0s) : this_task::yield();
      seen("main");
    }
  });
  CHECK(seen == "other@0, main@0, other@0, main@0, other@0, main@0");
}

TEST_CASE("yield: tasks that only yield do not starve timers") {
  bool due = false;
  fibers::run([&] {
    auto const sleeper = spawn([&] {
      sleep_for(1ms);
      due = true;
    });
    while (!due) this_task::yield();
  });
  CHECK(due);
}

TEST_CASE("checkpoint: in a computing loop it lets timers and other tasks run") {
  bool due = false;
  int others = 0;
  fibers::run([&] {
    auto const sleeper = spawn([&] {
      sleep_for(1ms);
      due = true;
    });
    auto const other = spawn([&] { ++others; });
    while (!due || others == 0) this_task::checkpoint();
  });
  CHECK(due);
  CHECK(others == 1);
}

TEST_CASE_METHOD(virtual_time, "checkpoint: throws a pending request") {
  run([&] {
    auto const child = spawn([&] {
      this_task::checkpoint();
      this_task::cancel("enough");
      seen(how([] { this_task::checkpoint(); }));
      seen(how([] { this_task::checkpoint(); }));
    });
    child.wait();
  });
  CHECK(seen == "cancelled: enough@0, returned@0");
}

// --- sleeping ---

TEST_CASE_METHOD(virtual_time, "sleep: two sleeps of half the length end with a whole one", "[TASK-45]") {
  run([&] {
    auto const whole = spawn([&] {
      sleep_for(2s);
      seen("whole");
    });
    sleep_for(1s);
    seen("half");
    sleep_for(1s);
    seen("half");
  });
  CHECK(seen == "half@1, whole@2, half@2");
}

TEST_CASE_METHOD(virtual_time,
                 "sleep: tasks wake in the order of their deadlines, and in FIFO order if these are equal", "[CB-15]") {
  run([&] {
    std::vector<fibers::task<void>> tasks;
    for (int const seconds : {3, 1, 2, 1, 3}) {
      tasks.push_back(spawn([&, seconds, number = tasks.size()] {
        sleep_for(std::chrono::seconds(seconds));
        seen(std::to_string(number));
      }));
    }
    for (auto const& task : tasks) task.wait();
  });
  CHECK(seen == "1@1, 3@1, 2@2, 0@3, 4@3");
}

TEST_CASE("sleep: no task wakes before its time, by the real clock", "[CB-16]") {
  auto const begin = std::chrono::steady_clock::now();
  fibers::run([&] { sleep_for(5ms); });
  CHECK(std::chrono::steady_clock::now() - begin >= 5ms);
}

TEST_CASE_METHOD(virtual_time, "sleep: fractions are rounded up to the resolution of the clock") {
  run([&] {
    sleep_for(std::chrono::duration<double>(0.25));
    seen("a quarter");
    auto const before = fibers::clock::now();
    sleep_for(std::chrono::duration<double, std::pico>(1));
    seen(fibers::clock::now() - before == 1ns ? "a nanosecond" : "something else");
  });
  CHECK(seen == "a quarter@0.25, a nanosecond@0.25");
}

TEST_CASE_METHOD(virtual_time, "sleep: NaN is always refused", "[TASK-46]") {
  run([&] { seen(how([] { sleep_for(std::chrono::duration<double>(std::nan(""))); })); });
  CHECK(seen == "failed: fibers: a duration is NaN; for no time limit write fibers::no_timeout@0");
}

TEST_CASE_METHOD(virtual_time, "sleep: a negative duration is refused, a past deadline only yields") {
  run([&] {
    auto const other = spawn([&] { seen("other"); });
    seen(how([] { sleep_for(-1s); }).substr(0, 53));
    seen(how([] { sleep_until(fibers::clock::now() - 1s); }));
  });
  CHECK(seen == "failed: fibers: sleep_for() of less than nothing (thi@0, other@0, returned@0");
}

TEST_CASE_METHOD(virtual_time, "sleep: a duration that is too long for the clock is for ever") {
  auto const sleep = GENERATE(
      as<void (*)()>(), [] { sleep_for(fibers::no_timeout); }, [] { sleep_for(std::chrono::hours::max()); },
      [] { sleep_for(std::chrono::duration<double>(INFINITY)); }, [] { sleep_for(fibers::duration::max()); },
      [] { sleep_until(fibers::no_timeout); });
  run([&] {
    auto child = spawn(sleep);
    sleep_for(24h * 365 * 200);
    child.cancel("long enough");
    seen(how([&] { child.get(); }));
  });
  CHECK(seen.contains("cancelled: long enough@6.3072e+09"));
}

// --- withdrawing requests ---

TEST_CASE_METHOD(virtual_time, "uncancel: a request counts, and catching it does not withdraw it",
                 "[UNC-01][UNC-02][UNC-03]") {
  run([&] {
    auto child = spawn([&] {
      seen(std::to_string(this_task::cancelling()));
      seen(how([] { sleep_for(9s); }));
      seen(std::to_string(this_task::cancelling()));
      seen(std::to_string(this_task::uncancel()));
      seen(how([] { sleep_for(9s); }));
      seen(std::to_string(this_task::cancelling()));
      throw cancelled_error();
    });
    sleep_for(1s);
    child.cancel("first");
    seen(child.cancelled() ? "cancelled" : "not yet");
    sleep_for(1s);
    child.cancel("second");
    child.wait();
    seen(std::to_string(child.cancelling()) + (child.cancelled() ? ", cancelled" : ""));
  });
  CHECK(seen == "0@0, not yet@1, cancelled: first@1, 1@1, 0@1, cancelled: second@2, 1@2, 1, cancelled@2");
}

TEST_CASE_METHOD(virtual_time, "uncancel: withdrawing the last request drops the pending one", "[UNC-09]") {
  run([&] {
    auto const child = spawn([&] {
      seen(std::to_string(this_task::uncancel()));  // there is no request
      this_task::cancel();
      this_task::cancel();
      seen(std::to_string(this_task::uncancel()));
      seen(how([] { this_task::checkpoint(); }));  // one request was left
      this_task::cancel();
      seen(std::to_string(this_task::uncancel()));
      seen(std::to_string(this_task::uncancel()));
      seen(how([] { this_task::checkpoint(); }));
    });
    child.wait();
  });
  CHECK(seen == "0@0, 1@0, cancelled@0, 1@0, 0@0, returned@0");
}

TEST_CASE_METHOD(virtual_time, "uncancel: a request withdrawn before the body returns leaves the value", "[UNC-09]") {
  run([&] {
    auto child = spawn([] {
      this_task::cancel();
      this_task::uncancel();
      return 5;
    });
    seen(how([&] { return child.get(); }));
  });
  CHECK(seen == "returned 5@0");
}

TEST_CASE_METHOD(virtual_time, "uncancel: a request that arrived when the wait was over can be withdrawn", "[UNC-06]") {
  run([&] {
    auto const inner = spawn([] {
      sleep_for(1s);
      return 5;
    });
    auto const outer = spawn([&] {
      seen(how([&] { return inner.handle().get(); }));
      seen(std::to_string(this_task::uncancel()));
      seen(how([] { sleep_for(1s); }));
    });
    inner.on_done([&] { outer.cancel(); });  // outer is ready by then
    outer.wait();
  });
  CHECK(seen == "returned 5@1, 0@1, returned@2");
}

// Only a task itself, and its scopes, can withdraw a request; here the test does so from outside, as asyncio allows.
namespace {

unsigned uncancel(task_handle<> const& task) {
  auto& state = *fibers::detail::task_access::state(task);
  std::scoped_lock const guard(state.lock());
  return state.cancels().uncancel();
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "uncancel: before the start, the body runs as if there had been no request",
                 "[UNC-07]") {
  run([&] {
    auto child = spawn([&] {
      this_task::checkpoint();
      return 5;
    });
    child.cancel();
    seen(std::to_string(uncancel(child.handle())));
    seen(how([&] { return child.get(); }));
  });
  CHECK(seen == "0@0, returned 5@0");
}

TEST_CASE_METHOD(virtual_time, "uncancel: after a wait was withdrawn it comes too late", "[UNC-08]") {
  run([&] {
    auto const child = spawn([&] {
      seen(how([] { sleep_for(9s); }));
      seen(std::to_string(this_task::cancelling()));
      seen(how([] { sleep_for(1s); }));
    });
    this_task::yield();
    child.cancel("too late");
    seen(std::to_string(uncancel(child.handle())));
    child.wait();
  });
  CHECK(seen == "0@0, cancelled: too late@0, 0@0, returned@1");
}

// A hand-written timeout, like asyncio's: a timer cancels the task, and the request is withdrawn at the end.
namespace {

template <class F>
void stop_after(fibers::duration limit, F body) {
  bool expired = false;
  auto const timer = spawn([&, victim = this_task::handle()] {
    sleep_for(limit);
    expired = true;
    victim.cancel();
  });
  bool cancelled = false;
  try {
    body();
  } catch (cancelled_error const&) {
    cancelled = true;
    if (!expired) throw;
  }
  if (expired && this_task::uncancel() == 0 && cancelled) throw fibers::timeout_error();
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "uncancel: serves a hand-written timeout that expires", "[UNC-04]") {
  run([&] {
    seen(how([] { stop_after(1s, [] { sleep_for(9s); }); }));
    seen(std::to_string(this_task::cancelling()));
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: timed out@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "uncancel: serves a hand-written timeout that does not expire", "[UNC-05]") {
  run([&] {
    seen(how([] { stop_after(9s, [] { sleep_for(1s); }); }));
    seen(std::to_string(this_task::cancelling()));
    sleep_for(10s);
    seen("undisturbed");
  });
  CHECK(seen == "returned@1, 0@1, undisturbed@11");
}

TEST_CASE_METHOD(virtual_time, "uncancel: a body that catches without it keeps the count, and is not cancelled again",
                 "[UNC-10]") {
  run([&] {
    auto const child = spawn([&] {
      seen(how([] { sleep_for(9s); }));
      seen(how([] { sleep_for(1s); }));
      this_task::checkpoint();
      seen(std::to_string(this_task::cancelling()));
    });
    this_task::yield();
    child.cancel();
    child.wait();
    seen(std::to_string(child.cancelling()));
  });
  CHECK(seen == "cancelled@0, returned@1, 1@1, 1@1");
}
