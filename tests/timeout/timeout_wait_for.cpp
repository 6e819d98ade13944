// SPDX-License-Identifier: BSL-1.0

// wait_for() of a task is get() with a limit, so the task is cancelled and waited for; of a callable it is a block with
// a limit.

#include <exception>
#include <fibers/shield.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_handle;
using fibers::timeout_error;
using fibers::wait_for;
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

int five_after(fibers::duration time) {
  sleep_for(time);
  return 5;
}

// Swallows a cancellation, and takes this long to end.
int ignores_cancellation(fibers::duration time) {
  try {
    sleep_for(1h);
  } catch (cancelled_error const&) {
    sleep_for(time);
  }
  return 5;
}

std::string state_of(task_handle<> const& task) {
  return !task.done() ? "runs" : task.cancelled() ? "cancelled" : "not cancelled";
}

// Cancels a task after this time, once it is suspended.
auto cancel_after(fibers::duration time, task_handle<> const& task) {
  return spawn([time, task] {
    sleep_for(time);
    task.cancel("enough");
  });
}

fibers::duration const no_time_at_all[] = {0s, -1s, fibers::duration::min()};

}  // namespace

// --- a limit that is not reached ---

TEST_CASE_METHOD(virtual_time, "wait_for: without a limit it only waits", "[WF-01]") {
  run([&] {
    auto child = spawn([] { return five_after(1h); });
    seen(ends([&] { return wait_for(child, fibers::no_timeout); }));
    seen(ends([&] { return wait_for([] { return five_after(1h); }, fibers::no_timeout); }));
  });
  CHECK(seen == "returned 5@3600, returned 5@7200");
}

TEST_CASE_METHOD(virtual_time, "wait_for: returns what get() returns, of a task, a handle or a temporary") {
  int number = 0;
  run([&] {
    auto owned = spawn([] { return std::make_unique<int>(5); });
    auto const result = wait_for(owned, 1s);
    seen(std::to_string(*result));
    seen(how([&] { owned.get(); }).substr(0, 34));
    int& same = wait_for(spawn([&]() -> int& { return number; }), 1s);
    seen(&same == &number ? "the same" : "another");
    auto const shared = spawn([] { return std::string("copied"); });
    seen(wait_for(shared.handle(), 1s) + ' ' + wait_for(shared.handle(), 1s));
    task_handle<> const erased = shared.handle();
    seen(ends([&] { wait_for(erased, 1s); }));
    seen(ends([&] { wait_for(spawn([] {}), 1s); }));
    seen(ends([&] { wait_for(spawn([] { throw std::runtime_error("no"); }), 1s); }));
  });
  CHECK(seen ==
        "5@0, failed: fibers: the result of this@0, the same@0, copied copied@0, returned@0, returned@0, "
        "failed: no@0");
}

TEST_CASE_METHOD(virtual_time, "wait_for: a callable runs in the calling task, and its result is returned", "[WF-18]") {
  int number = 0;
  run([&] {
    auto const self = this_task::id();
    seen(wait_for([&] { return this_task::id() == self; }, 1s) ? "the same task" : "another");
    seen(wait_for([&] { return this_task::id() == self; }, fibers::no_timeout) ? "the same task" : "another");
    seen(&wait_for([&]() -> int& { return number; }, 1s) == &number ? "the same" : "another");
    seen(std::to_string(*wait_for([] { return std::make_unique<int>(5); }, 1s)));
    seen(ends([] { wait_for([] {}, 1s); }));
    seen(ends([] { wait_for([] { throw std::runtime_error("no"); }, 1s); }));
  });
  CHECK(seen == "the same task@0, the same task@0, the same@0, 5@0, returned@0, failed: no@0");
}

TEST_CASE_METHOD(virtual_time, "wait_for: a result that arrives as the wait begins is returned", "[WF-09]") {
  run([&] {
    auto child = spawn([] { return 5; });
    seen(ends([&] { return wait_for(child.handle(), 1s); }));
    seen(ends([&] { return wait_for(child, 1s); }));
  });
  CHECK(seen == "returned 5@0, returned 5@0");
}

// --- a limit that is reached ---

TEST_CASE_METHOD(virtual_time, "wait_for: a task whose time is up is cancelled and has ended", "[WF-02]") {
  run([&] {
    auto child = spawn([&] {
      at_exit const leaving{[&] { seen("cleaned up"); }};
      return five_after(9s);
    });
    seen(ends([&] { return wait_for(child, 1s); }));
    seen(state_of(child.handle()) + ", asked " + std::to_string(child.cancelling()));
    seen(ends([] { return wait_for([] { return five_after(9s); }, 1s); }));
  });
  CHECK(seen == "cleaned up@1, timed out@1, cancelled, asked 1@1, timed out@2");
}

TEST_CASE_METHOD(virtual_time, "wait_for: a temporary task does not outlive it") {
  run([&] {
    seen(ends([&] {
      return wait_for(spawn([&] {
                        at_exit const leaving{[&] { seen("cleaned up"); }};
                        return five_after(9s);
                      }),
                      1s);
    }));
  });
  CHECK(seen == "cleaned up@1, timed out@1");
}

TEST_CASE_METHOD(virtual_time, "wait_for: waits for a task that ignores it, and returns its result",
                 "[WF-06][WF-08][TRAP-02]") {
  run([&] {
    auto child = spawn([] { return ignores_cancellation(3s); });
    seen(ends([&] { return wait_for(child, 1s); }));
    seen(state_of(child.handle()));
    seen(ends([] { return wait_for([] { return ignores_cancellation(0s); }, 1s); }));
  });
  CHECK(seen == "returned 5@4, not cancelled@4, returned 5@5");
}

TEST_CASE_METHOD(virtual_time, "wait_for: waits for a task's clean-up before it times out", "[WF-10][WF-11][TRAP-02]") {
  fibers::duration const limit = GENERATE(1s, 0s);
  run([&] {
    auto child = spawn([&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        sleep_for(3s);
        throw;
      }
    });
    this_task::yield();
    seen(ends([&] { wait_for(child, limit); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == (limit == 1s ? "timed out@4, cancelled@4" : "timed out@3, cancelled@3"));
}

TEST_CASE_METHOD(virtual_time, "wait_for: an error with which the task answers is thrown", "[WF-12]") {
  fibers::duration const limit = GENERATE(1s, 0s);
  run([&] {
    auto child = spawn([] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        throw std::runtime_error("broken off");
      }
    });
    this_task::yield();
    seen(how([&] { wait_for(child, limit); }));
    seen(std::to_string(this_task::cancelling()));
  });
  CHECK(seen == (limit == 1s ? "failed: broken off@1, 0@1" : "failed: broken off@0, 0@0"));
}

TEST_CASE_METHOD(virtual_time, "wait_for: the text names the limit and the call site") {
  std::string text;
  int line = 0;
  run([&] {
    auto const child = spawn([] { sleep_for(9s); });
    try {
      line = __LINE__ + 1;
      wait_for(child.handle(), 250ms);
    } catch (timeout_error const& error) {
      text = error.what();
    }
  });
  auto const here = "timeout_wait_for.cpp:" + std::to_string(line);
  CHECK_THAT(text, ContainsSubstring("timed out after 250 ms (limit set at " + here + "), while waiting at " + here));
}

// --- no time at all ---

TEST_CASE_METHOD(virtual_time, "wait_for: with a limit of 0, it returns the outcome of a task that has ended",
                 "[WF-03]") {
  run([&] {
    auto const value = spawn([] { return 5; });
    auto const failure = spawn([] { throw std::runtime_error("no"); });
    auto const cancelled = spawn([] { sleep_for(9s); });
    value.wait();
    failure.wait();
    cancelled.cancel("before");
    cancelled.wait();
    for (auto const limit : no_time_at_all) {
      seen(ends([&] { return wait_for(value.handle(), limit); }));
      seen(ends([&] { wait_for(failure.handle(), limit); }));
      seen(ends([&] { wait_for(cancelled.handle(), limit); }));
    }
  });
  CHECK(seen ==
        "returned 5@0, failed: no@0, cancelled: before@0, returned 5@0, failed: no@0, cancelled: before@0, "
        "returned 5@0, failed: no@0, cancelled: before@0");
}

TEST_CASE_METHOD(virtual_time, "wait_for: with a limit of 0, a callable is not called", "[WF-04]") {
  run([&] {
    for (auto const limit : no_time_at_all) seen(ends([&] { wait_for([&] { seen("called"); }, limit); }));
  });
  CHECK(seen == "timed out@0, timed out@0, timed out@0");
}

TEST_CASE_METHOD(virtual_time, "wait_for: with a limit of 0, a running task is cancelled and has ended", "[WF-05]") {
  run([&] {
    for (auto const limit : no_time_at_all) {
      auto child = spawn([&] {
        at_exit const leaving{[&] { seen("cleaned up"); }};
        sleep_for(9s);
      });
      this_task::yield();
      seen(ends([&] { wait_for(child, limit); }));
      seen(state_of(child.handle()));
    }
    auto const unborn = spawn([&] { seen("called"); });
    seen(ends([&] { wait_for(unborn.handle(), 0s); }));
    auto const stubborn = spawn([] { return ignores_cancellation(1s); });
    this_task::yield();
    seen(ends([&] { return wait_for(stubborn.handle(), 0s); }));
  });
  CHECK(seen ==
        "cleaned up@0, timed out@0, cancelled@0, cleaned up@0, timed out@0, cancelled@0, "
        "cleaned up@0, timed out@0, cancelled@0, timed out@0, returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "wait_for: with a limit of 0, a request ends its wait at once, and not the task",
                 "[WF-20]") {
  run([&] {
    auto const child = spawn([&] {
      at_exit const leaving{[&] {
        sleep_for(3s);
        seen("cleaned up");
      }};
      sleep_for(9s);
    });
    auto const waiting = spawn([&] {
      this_task::yield();
      seen(ends([&] { wait_for(child.handle(), 0s); }));
    });
    auto const canceller = cancel_after(1s, waiting.handle());
    waiting.wait();
    seen(state_of(child.handle()) + ", asked " + std::to_string(child.cancelling()));
    child.wait();
  });
  CHECK(seen == "cancelled: enough, asked 1@1, runs, asked 1@1, cleaned up@3");
}

TEST_CASE_METHOD(virtual_time, "wait_for: a pending request is thrown first, and the task is not affected") {
  fibers::duration const limit = GENERATE(0s, 1s);
  run([&] {
    auto const child = spawn([] { return five_after(1s); });
    auto const waiting = spawn([&] {
      this_task::cancel("pending");
      seen(ends([&] { return wait_for(child.handle(), limit); }));
    });
    waiting.wait();
    seen(ends([&] { return child.handle().get(); }));
  });
  CHECK(seen == "cancelled: pending, asked 1@0, returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "wait_for: with a limit of 0, a request at the end of its wait stays pending") {
  run([&] {
    auto const child = spawn([] { return ignores_cancellation(1s); });
    auto const waiting = spawn([&] {
      this_task::yield();
      seen(ends([&] { return wait_for(child.handle(), 0s); }));
      seen(ends([] { this_task::checkpoint(); }));
    });
    child.on_done([&] { waiting.cancel("late"); });  // the waiting task is ready by then
    waiting.wait();
  });
  CHECK(seen == "returned 5, asked 1@1, cancelled: late, asked 1@1");
}

// --- cancelled from outside ---

TEST_CASE_METHOD(virtual_time, "wait_for: a request from outside is forwarded to the task", "[WF-13][WF-14]") {
  auto const limit = GENERATE(fibers::time_limit(fibers::no_timeout), fibers::time_limit(5s));
  run([&] {
    auto const child = spawn([] { return five_after(9s); });
    auto const waiting = spawn([&] { seen(ends([&] { return wait_for(child.handle(), limit); })); });
    auto const canceller = cancel_after(1s, waiting.handle());
    waiting.wait();
    seen(state_of(child.handle()));
  });
  CHECK(seen == "cancelled: enough, asked 1@1, cancelled@1");
}

TEST_CASE_METHOD(virtual_time, "wait_for: if cancelled, it waits for a task that ignores it, and returns its result",
                 "[WF-07][WF-19]") {
  run([&] {
    auto const child = spawn([] { return ignores_cancellation(2s); });
    auto const waiting = spawn([&] {
      seen(ends([&] { return wait_for(child.handle(), 9s); }));
      seen(ends([] { sleep_for(1s); }));
    });
    auto const canceller = cancel_after(1s, waiting.handle());
    waiting.wait();
  });
  CHECK(seen == "returned 5, asked 1@3, returned, asked 1@4");
}

TEST_CASE_METHOD(virtual_time, "wait_for: if its task has just ended, it returns the result and a request is not lost",
                 "[WF-15][TRAP-01]") {
  run([&] {
    auto const child = spawn([] { return five_after(1s); });
    auto const waiting = spawn([&] {
      seen(ends([&] { return wait_for(child.handle(), 9s); }));
      seen(ends([] { sleep_for(1s); }));
    });
    child.on_done([&] { waiting.cancel("late"); });  // the waiting task is ready by then
    waiting.wait();
    seen(ends([&] { return child.handle().get(); }));
  });
  CHECK(seen == "returned 5, asked 1@1, cancelled: late, asked 1@1, returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "wait_for: a request at the moment of the deadline wins") {
  bool const request_first = GENERATE(true, false);
  run([&] {
    auto const child = spawn([] { return five_after(9s); });
    std::optional<fibers::task<void>> canceller;
    auto const waiting = spawn([&] {
      this_task::yield();
      seen(ends([&] { return wait_for(child.handle(), 1s); }));
    });
    if (request_first) canceller.emplace(cancel_after(1s, waiting.handle()));
    this_task::yield();
    this_task::yield();
    if (!request_first) canceller.emplace(cancel_after(1s, waiting.handle()));
    waiting.wait();
    seen(state_of(child.handle()));
  });
  CHECK((seen == "cancelled, asked 1@1, cancelled@1" || seen == "cancelled: enough, asked 1@1, cancelled@1"));
}
