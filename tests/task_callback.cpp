// SPDX-License-Identifier: BSL-1.0

// Those who are told of the end of a task: callbacks, and the hook for exceptions that nobody fetched.

#include <fibers/this_task.hpp>
#include <functional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::invalid_state_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task;
using fibers::task_handle;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

[[noreturn]] void fail(char const* what) { throw std::runtime_error(what); }

}  // namespace

// --- callbacks ---

TEST_CASE_METHOD(virtual_time, "callback: called in the order of registration, later, and with the task", "[CB-05]") {
  run([&] {
    auto const child = spawn("child", [&] { seen("body"); });
    child.on_done([&](task_handle<> ended) { seen("first, of " + ended.name()); });
    child.on_done([&] { seen("second"); });
    child.on_done([&](auto const& ended) { seen(ended.done() ? "third, done" : "third, not done"); });
    seen("main");
    sleep_for(1s);
  });
  CHECK(seen == "main@0, body@0, first, of child@0, second@0, third, done@0");
}

TEST_CASE_METHOD(virtual_time, "callback: called after a cancellation too, also if the task never began", "[CB-06]") {
  run([&] {
    auto const child = spawn([] {});
    child.on_done([&](task_handle<> ended) { seen(ended.cancelled() ? "cancelled" : "returned"); });
    child.cancel_and_wait();
    sleep_for(1s);
  });
  CHECK(seen == "cancelled@0");
}

TEST_CASE_METHOD(virtual_time, "callback: one for a task that has ended is called soon, and not at once", "[CB-06]") {
  run([&] {
    auto const child = spawn([] {});
    child.wait();
    child.on_done([&] { seen("callback"); });
    seen("main");
    sleep_for(1s);
    seen("main");
  });
  CHECK(seen == "main@0, callback@0, main@1");
}

TEST_CASE_METHOD(virtual_time, "callback: registered by a callback, it is called as well, after all others",
                 "[CB-09]") {
  run([&] {
    auto const child = spawn([] {});
    child.on_done([&](task_handle<> ended) {
      seen("first");
      ended.on_done([&] { seen("third"); });
    });
    child.on_done([&] { seen("second"); });
    sleep_for(1s);
  });
  CHECK(seen == "first@0, second@0, third@0");
}

TEST_CASE_METHOD(virtual_time, "callback: those of the task that ends last are called before run() returns") {
  run([&] {
    spawn([&] { sleep_for(9s); }).detach().on_done([&] { seen("detached"); });
    this_task::handle().on_done([&] { seen("main"); });
    sleep_for(1s);
  });
  CHECK(seen == "main@1, detached@1");
}

TEST_CASE_METHOD(virtual_time, "callback: once run() is over, it is called here and now") {
  task_handle<> handle;
  run([&] { handle = this_task::handle(); });
  bool called = false;
  handle.on_done([&] { called = true; });
  CHECK(called);
}

TEST_CASE_METHOD(virtual_time, "callback: what it throws is reported with the task's name, and the loop goes on",
                 "[CB-14]") {
  run([&] {
    auto const child = spawn("child", [] {});
    child.on_done([] { fail("no"); });
    child.on_done([&] { seen("second"); });
    sleep_for(1s);
    seen("main");
  });
  CHECK(seen == "second@0, main@1");
  CHECK(std::exchange(unfetched, {}) == std::vector<std::string>{"child: failed: no"});
}

TEST_CASE_METHOD(virtual_time, "callback: it runs between tasks, so it cannot suspend", "[TASK-07]") {
  run([&] {
    auto const child = spawn([] {});
    child.on_done([&] { seen(how([] { sleep_for(1s); }).substr(0, 84)); });
    child.on_done([&] { seen(how([] { return this_task::name(); }).substr(0, 84)); });
    sleep_for(1s);
  });
  char const* const refusal =
      "failed: fibers: this needs a running task: a callback runs between tasks; spawn one in it";
  std::string const start = std::string(refusal).substr(0, 84);
  CHECK(seen == start + "@0, " + start + "@0");
}

TEST_CASE_METHOD(virtual_time, "callback: it may spawn tasks and cancel some") {
  run([&] {
    auto const sleeper = spawn([&] { sleep_for(9s); });
    auto const child = spawn([] { sleep_for(1s); });
    child.on_done([&] {
      sleeper.cancel("by a callback");
      spawn([&] { seen("spawned"); }).detach();
    });
    seen(how([&] { sleeper.handle().get(); }));
  });
  CHECK(seen == "spawned@1, cancelled: by a callback@1");
}

TEST_CASE_METHOD(virtual_time, "callback: a task<> that goes in one is cancelled, and nobody waits") {
  run([&] {
    auto owned = spawn([&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        seen("cancelled");
      }
    });
    auto const child = spawn([] { sleep_for(1s); });
    child.on_done([&, owned = std::move(owned)]() mutable {
      owned = {};
      seen("dropped");
    });
    sleep_for(2s);
  });
  CHECK(seen == "dropped@1, cancelled@1");
}

// --- what nobody fetched ---

TEST_CASE_METHOD(virtual_time, "unhandled: a failure that nobody looked at is reported when the last handle goes",
                 "[TASK-43][CB-12]") {
  run([&] {
    auto handle = spawn("child", [] { fail("no"); }).detach();
    sleep_for(1s);
    seen(std::to_string(unfetched.size()));
    handle = {};
    seen(std::to_string(unfetched.size()));
  });
  CHECK(seen == "0@1, 1@1");
  CHECK(std::exchange(unfetched, {}) == std::vector<std::string>{"child: failed: no"});
}

TEST_CASE_METHOD(virtual_time, "unhandled: one without any handle is reported when it ends", "[TASK-43]") {
  run([&] {
    spawn("child", [] { fail("no"); }).detach();
    sleep_for(1s);
    seen(std::to_string(unfetched.size()));
  });
  CHECK(seen == "1@1");
  CHECK(std::exchange(unfetched, {}) == std::vector<std::string>{"child: failed: no"});
}

TEST_CASE_METHOD(virtual_time, "unhandled: wait() does not count as looking") {
  run([&] { spawn("child", [] { fail("no"); }).wait(); });
  CHECK(std::exchange(unfetched, {}) == std::vector<std::string>{"child: failed: no"});
}

TEST_CASE_METHOD(virtual_time, "unhandled: results, cancellations and what was looked at are not reported", "[CB-12]") {
  run([&] {
    spawn([] { return 5; }).detach();
    spawn([] { throw cancelled_error("by itself"); }).detach();
    auto const first = spawn([] { fail("no"); });
    seen(how([&] { first.handle().get(); }));
    auto const second = spawn([] { fail("no"); });
    second.wait();
    seen(second.exception() != nullptr ? "looked at" : "nothing");
    sleep_for(1s);
  });
  CHECK(seen == "failed: no@0, looked at@0");
  CHECK(unfetched.empty());
}

TEST_CASE_METHOD(virtual_time, "unhandled: who cancels a task that has failed does not care", "[TASK-33]") {
  run([&] {
    auto const child = spawn([] { fail("no"); });
    child.wait();
    seen(child.cancel() ? "accepted" : "too late");
  });
  CHECK(seen == "too late@0");
  CHECK(unfetched.empty());
}

TEST_CASE_METHOD(virtual_time, "unhandled: a task that ended without a handle has ended when the hook is told") {
  auto with_hook = options();
  with_hook.on_unhandled = [&](std::string const&, std::exception_ptr) {
    seen(how([] { static_cast<void>(this_task::handle()); }).substr(0, 80));
    seen(how([] { this_task::yield(); }).substr(0, 80));
  };
  fibers::run(with_hook, [] {
    spawn([] { fail("no"); }).detach();
    sleep_for(1s);
  });
  std::string const refusal = "failed: fibers: this needs a running task: a callback runs between tasks; spawn ";
  CHECK(seen == refusal + "@0, " + refusal + "@0");
}

TEST_CASE_METHOD(virtual_time, "unhandled: a hook that throws does no harm", "[CB-14]") {
  auto with_hook = options();
  with_hook.on_unhandled = [](std::string const&, std::exception_ptr) { fail("the hook"); };
  fibers::run(with_hook, [&] {
    spawn([] { fail("no"); }).detach();
    auto const child = spawn([] {});
    child.on_done([] { fail("a callback"); });
    sleep_for(1s);
    seen("goes on");
  });
  CHECK(seen == "goes on@1");
}

TEST_CASE_METHOD(virtual_time, "unhandled: a hook may use the loop: ask who runs, cancel, and spawn", "[CB-14]") {
  auto with_hook = options();
  task_handle<> main;
  with_hook.on_unhandled = [&](std::string const& name, std::exception_ptr) {
    seen(name);
    spawn([&] { seen("spawned by the hook"); }).detach();
    main.cancel("a child has failed");
  };
  CHECK(how([&] {
          fibers::run(with_hook, [&] {
            main = this_task::handle();
            spawn("child", [] { fail("no"); }).detach();
            try {
              sleep_for(9s);
            } catch (cancelled_error const&) {
              this_task::yield();
              throw;
            }
          });
        }) == "cancelled: a child has failed");
  CHECK(seen == "child@0, spawned by the hook@0");
}
