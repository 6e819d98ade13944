// SPDX-License-Identifier: BSL-1.0

// Cancelling a task in each of its states, from tasks and threads. The effects of a request are in task_cancelled.cpp.

#include <atomic>
#include <deque>
#include <fibers/this_task.hpp>
#include <stdexcept>
#include <thread>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task;
using fibers::task_handle;
using fibers::testing::how;
using fibers::testing::sanitized;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// "cancelled, asked 1 time(s)"
std::string state_of(task_handle<> const& task) {
  std::string const asked = ", asked " + std::to_string(task.cancelling());
  return (!task.done() ? "runs" : task.cancelled() ? "cancelled" : "not cancelled") + asked;
}

}  // namespace

// --- in every state ---

TEST_CASE_METHOD(virtual_time, "cancel: before the start, the body never runs", "[TASK-26]") {
  run([&] {
    auto const child = spawn([&] { seen("body"); });
    child.cancel("too early");
    seen(state_of(child.handle()));
    seen(how([&] { child.handle().get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "runs, asked 1@0, cancelled: too early@0, cancelled, asked 1@0");
}

TEST_CASE_METHOD(virtual_time, "cancel: a task blocked in a sleep ends cancelled, at once",
                 "[TASK-14][TASK-16][CB-02]") {
  run([&] {
    auto child = spawn([] { sleep_for(9s); });
    sleep_for(1s);
    seen(child.cancel() ? "accepted" : "too late");
    seen(state_of(child.handle()));
    seen(how([&] { child.get(); }));
    seen(state_of(child.handle()));
    seen(child.cancel() ? "accepted" : "too late");
    seen(state_of(child.handle()));
  });
  CHECK(seen == "accepted@1, runs, asked 1@1, cancelled@1, cancelled, asked 1@1, too late@1, cancelled, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: the timer of a cancelled sleep is removed, so the clock does not jump to it",
                 "[TASK-16]") {
  run([&] {
    auto const child = spawn([] { sleep_for(9s); });
    sleep_for(1s);
    child.cancel_and_wait();
    try {
      sleep_for(fibers::no_timeout);
    } catch (fibers::deadlock_error const&) {
      seen("nothing is due any more");
    }
  });
  CHECK(seen == "nothing is due any more@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: a task that yields is cancelled at that yield", "[TASK-15]") {
  run([&] {
    auto const child = spawn([&] {
      seen(how([] { this_task::yield(); }));
      seen(how([] { sleep_for(0s); }));
      seen(how([] { fibers::sleep_until(fibers::clock::now() - 1s); }));
    });
    for (char const* const where : {"yield", "zero", "past"}) {
      this_task::yield();
      child.cancel(where);
    }
    child.wait();
  });
  CHECK(seen == "cancelled: yield@0, cancelled: zero@0, cancelled: past@0");
}

TEST_CASE_METHOD(virtual_time, "cancel: a ready task whose wait was over gets it at its next suspension point",
                 "[TASK-34]") {
  run([&] {
    auto const inner = spawn([] {
      sleep_for(1s);
      return 5;
    });
    auto const outer = spawn([&] {
      seen(how([&] { return inner.handle().get(); }));
      seen(how([] { sleep_for(1s); }));
    });
    inner.on_done([&] { outer.cancel("late"); });  // outer is ready by then
    outer.wait();
    seen(how([&] { return inner.handle().get(); }));
  });
  CHECK(seen == "returned 5@1, cancelled: late@1, returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: a task that has ended is not affected", "[CB-03][CB-04]") {
  run([&] {
    auto const value = spawn([] { return 5; });
    auto const failure = spawn([] { throw std::runtime_error("no"); });
    value.wait();
    failure.wait();
    seen(how([&] { return value.cancel() || failure.cancel(); }));
    seen(state_of(value.handle()));
    seen(how([&] { return value.handle().get(); }));
    seen(how([&] { failure.handle().get(); }));
  });
  CHECK(seen == "returned 0@0, not cancelled, asked 0@0, returned 5@0, failed: no@0");
}

TEST_CASE_METHOD(virtual_time, "cancel: a task that waits in get() forwards it inwards", "[TASK-17]") {
  run([&] {
    auto inner = spawn([] { sleep_for(9s); });
    auto outer = spawn([&] { inner.get(); });
    sleep_for(1s);
    outer.cancel("stop");
    seen(state_of(outer.handle()) + ", " + state_of(inner.handle()));
    seen(how([&] { outer.get(); }));
    seen(state_of(outer.handle()) + ", " + state_of(inner.handle()));
    seen(how([&] { inner.get(); }));
  });
  CHECK(seen ==
        "runs, asked 1, runs, asked 1@1, cancelled: stop@1, cancelled, asked 1, cancelled, asked 1@1, "
        "cancelled: stop@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: a task that waits in wait() is cancelled alone") {
  run([&] {
    auto const inner = spawn([] { sleep_for(9s); });
    auto const outer = spawn([&] { inner.wait(); });
    sleep_for(1s);
    outer.cancel();
    outer.wait();
    seen(state_of(outer.handle()) + ", " + state_of(inner.handle()));
  });
  CHECK(seen == "cancelled, asked 1, runs, asked 0@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: passes through a chain of 10,000 tasks, to the innermost and back") {
  std::size_t const length = sanitized ? 2'000 : 10'000;
  std::size_t cancelled = 0;
  run([&] {
    std::deque<task_handle<>> chain;
    std::vector<task<void>> tasks;
    for (std::size_t i = 0; i != length; ++i) {
      tasks.push_back(spawn([&, i] {
        if (i == 0) sleep_for(9s);
        chain[i - 1].get();
      }));
      chain.emplace_back(tasks.back().handle());
    }
    sleep_for(1s);
    chain.back().cancel("all");
    seen(how([&] { chain.back().get(); }));
    for (auto const& task : chain) cancelled += task.cancelled() && task.cancelling() == 1 ? 1 : 0;
  });
  CHECK(seen == "cancelled: all@1");
  CHECK(cancelled == length);
}

TEST_CASE_METHOD(virtual_time, "cancel: a chain whose innermost task is just ready or not begun gets it too") {
  run([&] {
    auto inner = spawn("inner", [&] { this_task::yield(); });
    auto outer = spawn([&] { inner.get(); });
    this_task::yield();  // inner is ready again
    outer.cancel("ready");
    seen(how([&] { outer.get(); }));
    auto second = spawn([&] {
      auto late = spawn([&] { seen("body"); });
      late.get();
    });
    auto const canceller = spawn([&] { second.cancel("not begun"); });  // runs before tasks that second spawns
    seen(how([&] { second.get(); }));
  });
  CHECK(seen == "cancelled: ready@0, cancelled: not begun@0");
}

TEST_CASE_METHOD(virtual_time, "cancel: tasks that wait in a cycle of wait() can be cancelled out of it") {
  run([&] {
    std::vector<task_handle<>> ring;
    auto const wait_for = [&](std::size_t other) {
      return [&ring, other] {
        this_task::yield();
        ring[other].wait();
      };
    };
    auto const a = spawn(wait_for(1));
    auto const b = spawn(wait_for(0));
    ring = {a.handle(), b.handle()};
    sleep_for(1s);
    a.cancel();
    b.wait();
    seen(state_of(ring[0]) + ", " + state_of(ring[1]));
  });
  CHECK(seen == "cancelled, asked 1, not cancelled, asked 0@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: 100,000 parked tasks are cancelled and joined") {
  std::size_t const count = sanitized ? 5'000 : 100'000;
  std::size_t cancelled = 0;
  run([&] {
    std::vector<task<void>> tasks;
    for (std::size_t i = 0; i != count; ++i) tasks.push_back(spawn([] { sleep_for(9s); }));
    sleep_for(1s);
    for (auto const& task : tasks) task.cancel();
    for (auto const& task : tasks) {
      task.wait();
      cancelled += task.cancelled() ? 1 : 0;
    }
    seen("all");
  });
  CHECK(cancelled == count);
  CHECK(seen == "all@1");
}

// --- by itself ---

TEST_CASE_METHOD(virtual_time, "self-cancel: thrown at the next suspension point, at once", "[TASK-22]") {
  run([&] {
    auto child = spawn([&] {
      this_task::cancel("enough");
      seen("goes on");
      sleep_for(9s);
    });
    seen(how([&] { child.get(); }));
  });
  CHECK(seen == "goes on@0, cancelled: enough@0");
}

TEST_CASE_METHOD(virtual_time, "self-cancel: a body that then returns ends cancelled, and its value is lost",
                 "[TASK-23]") {
  run([&] {
    auto child = spawn([&] {
      this_task::cancel("enough");
      return 5;
    });
    seen(how([&] { return child.get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "cancelled: enough@0, cancelled, asked 1@0");
}

TEST_CASE_METHOD(virtual_time, "self-cancel: a body that then fails ends with that error", "[TASK-24]") {
  run([&] {
    auto child = spawn([&] {
      this_task::cancel("enough");
      throw std::runtime_error("no");
    });
    seen(how([&] { child.get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "failed: no@0, not cancelled, asked 1@0");
}

TEST_CASE_METHOD(virtual_time, "self-cancel: get() throws it before it waits, and does not forward it", "[TASK-25]") {
  run([&] {
    auto inner = spawn([] { sleep_for(1s); });
    auto outer = spawn([&] {
      this_task::cancel("enough");
      inner.get();
    });
    seen(how([&] { outer.get(); }));
    seen(state_of(inner.handle()));
    seen(how([&] { inner.get(); }));
  });
  CHECK(seen == "cancelled: enough@0, runs, asked 0@0, returned@1");
}

TEST_CASE_METHOD(virtual_time, "self-cancel: through its own handle it is the same, and cancel_and_wait() throws it") {
  run([&] {
    auto child = spawn([&] {
      auto const self = this_task::handle();
      seen(how([&] { return self.cancel("first"); }));
      seen(how([&] { sleep_for(1s); }));
      self.cancel_and_wait();
      seen("not reached");
    });
    seen(how([&] { child.get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "returned 1@0, cancelled: first@0, cancelled@0, cancelled, asked 2@0");
}

TEST_CASE_METHOD(virtual_time, "cancel: a pending request is thrown also where the wait would complete at once",
                 "[TASK-37]") {
  run([&] {
    auto const ended = spawn([] { return 5; });
    ended.wait();
    auto const child = spawn([&] {
      this_task::cancel("get");
      seen(how([&] { return ended.handle().get(); }));
      this_task::cancel("wait");
      seen(how([&] { ended.wait(); }));
      this_task::cancel("checkpoint");
      seen(how([&] { this_task::checkpoint(); }));
      seen(how([&] { return ended.handle().get(); }));
    });
    child.wait();
  });
  CHECK(seen == "cancelled: get@0, cancelled: wait@0, cancelled: checkpoint@0, returned 5@0");
}

// --- messages, and where it came from ---

TEST_CASE_METHOD(virtual_time, "cancel: the body, get() and exception() see the message", "[TASK-29][TASK-30][CB-18]") {
  run([&] {
    auto child = spawn([&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const& error) {
        seen(error.message());
        throw;
      }
    });
    this_task::yield();
    child.cancel("too slow");
    seen(how([&] { child.get(); }));
    seen(how([&] { child.get(); }));
    seen(how([&] { static_cast<void>(child.exception()); }));
    seen(how([&] { child.handle().get(); }));
  });
  CHECK(seen ==
        "too slow@0, cancelled: too slow@0, cancelled: too slow@0, cancelled: too slow@0, cancelled: too slow@0");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel: of two before delivery the last counts if it was pending, the first if the task was blocked",
                 "[TASK-29][TASK-35][UNC-01]") {
  run([&] {
    auto pending = spawn([] {});
    auto blocked = spawn([&] {
      seen(how([] { sleep_for(9s); }));
      seen(how([] { sleep_for(1s); }));
      throw cancelled_error("the end");
    });
    seen(how([&] { return pending.cancel("first") && pending.cancel("last"); }));
    seen(how([&] { pending.get(); }));
    this_task::yield();
    seen(how([&] { return blocked.cancel("first") && blocked.cancel("last"); }));
    seen(state_of(blocked.handle()));
    blocked.wait();
    seen(state_of(blocked.handle()));
  });
  CHECK(seen ==
        "returned 1@0, cancelled: last@0, returned 1@0, runs, asked 2@0, cancelled: first@0, returned@1, "
        "cancelled, asked 2@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: the error names the requesting task, the call site and the time", "[TASK-30]") {
  cancelled_error error;
  boost::source_location place;
  run([&] {
    auto child = spawn([] { sleep_for(9s); });
    auto const watchdog = spawn("watchdog", [&] {
      sleep_for(2s);
      place = BOOST_CURRENT_LOCATION;
      child.cancel("too slow");
    });
    try {
      child.get();
    } catch (cancelled_error const& e) {
      error = e;
    }
  });
  auto const& origin = error.origin();
  CHECK(origin.via == fibers::cancel_origin::kind::by_hand);
  CHECK(origin.task == "watchdog");
  CHECK(origin.place.line() == place.line() + 1);
  CHECK(origin.time == fibers::time_point(2s));
  CHECK_THAT(error.what(), ContainsSubstring("cancelled: too slow (by task 'watchdog' at task_cancel.cpp:"));
}

// --- from other threads, in real time ---

TEST_CASE("cancel: works from a plain thread, whatever state the task is in") {
  enum class state { not_begun, suspended, running, waiting_for_another, finished };
  auto const which =
      GENERATE(state::not_begun, state::suspended, state::running, state::waiting_for_another, state::finished);
  std::string outcome;
  bool accepted = false;
  fibers::run([&] {
    std::atomic<bool> begun = false;
    auto inner = spawn([] { sleep_for(fibers::no_timeout); });
    auto child = spawn([&] {
      switch (which) {
        case state::not_begun:
        case state::finished:
          return;
        case state::suspended:
          return sleep_for(fibers::no_timeout);
        case state::running:
          begun = true;
          while (this_task::cancelling() == 0) std::this_thread::yield();
          return this_task::checkpoint();
        case state::waiting_for_another:
          return inner.get();
      }
    });
    if (which == state::finished) child.wait();
    if (which == state::suspended || which == state::waiting_for_another) this_task::yield();
    std::thread thread([&, handle = child.handle()] {
      while (which == state::running && !begun) std::this_thread::yield();
      accepted = handle.cancel("from outside");
    });
    if (which != state::running) thread.join();
    outcome = how([&] { child.get(); });
    if (which == state::running) thread.join();
  });
  CHECK(accepted == (which != state::finished));
  CHECK(outcome == (which == state::finished ? "returned" : "cancelled: from outside"));
}

TEST_CASE("cancel: a plain thread wakes a sleeping loop") {
  std::string outcome;
  std::thread thread;
  fibers::run([&] {
    auto const self = this_task::handle();
    thread = std::thread([self] { self.cancel("wake up"); });
    outcome = how([] { sleep_for(fibers::no_timeout); });
  });
  thread.join();
  CHECK(outcome == "cancelled: wake up");
}

TEST_CASE("cancel: a task of another loop may cancel, wait and get", "[TASK-05]") {
  std::string outcome;
  std::atomic<bool> cancelled_there = false;
  fibers::run([&] {
    auto child = spawn([] { sleep_for(fibers::no_timeout); });
    auto value = spawn([] { return 5; });
    std::thread thread([&, child = child.handle(), value = value.handle()] {
      outcome = fibers::run([&] {
        auto const waiter = spawn([&] { child.get(); });
        this_task::yield();
        waiter.cancel("across");  // forwarded to the other loop
        waiter.wait();
        cancelled_there = waiter.cancelled() && child.cancelled();
        return how([&] { return value.get(); }) + ", " + how([&] { child.get(); });
      });
    });
    child.wait();
    thread.join();
  });
  CHECK(cancelled_there);
  CHECK(outcome == "returned 5, cancelled: across");
}

TEST_CASE("cancel: two threads race with the end of the task until each has won") {
  int cancelled = 0;
  int returned = 0;
  for (int round = 0; round != 200'000 && (cancelled == 0 || returned == 0); ++round) {
    fibers::run([&] {
      std::atomic<bool> go = false;
      auto child = spawn([&] {
        go = true;
        for (int i = 0; i != 100 * (round % 64); ++i) this_task::yield();
      });
      std::thread thread([&, handle = child.handle()] {
        while (!go) std::this_thread::yield();
        handle.cancel();
      });
      child.wait();
      (child.cancelled() ? cancelled : returned) += 1;
      thread.join();
    });
  }
  CHECK(cancelled > 0);
  CHECK(returned > 0);
}
