// SPDX-License-Identifier: BSL-1.0

// The parties that are notified of the end of a task: callbacks, and the hook for exceptions that were never fetched.

#include <atomic>
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

TEST_CASE_METHOD(virtual_time, "callback: registered for a task that has ended, it is called soon, and not at once",
                 "[CB-06]") {
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

TEST_CASE_METHOD(virtual_time, "callback: after run() has ended, it is called immediately") {
  task_handle<> handle;
  run([&] { handle = this_task::handle(); });
  bool called = false;
  handle.on_done([&] { called = true; });
  CHECK(called);
}

TEST_CASE_METHOD(virtual_time, "callback: an exception is reported with the task's name, and the loop continues",
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

TEST_CASE_METHOD(virtual_time, "callback: runs between tasks, so it cannot suspend", "[TASK-07]") {
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

TEST_CASE_METHOD(virtual_time, "callback: may spawn tasks and cancel some") {
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

TEST_CASE_METHOD(virtual_time, "callback: a task<> destroyed in one is cancelled, without a wait") {
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

// --- removal ---

TEST_CASE_METHOD(virtual_time, "callback: a removed callback is never called, and the others are, in order",
                 "[CB-07]") {
  run([&] {
    auto const child = spawn([&] { seen("body"); });
    child.on_done([&] { seen("first"); });
    auto second = child.on_done([&] { seen("second"); });
    child.on_done([&] { seen("third"); });
    auto fourth = child.on_done([&] { seen("fourth"); });
    seen(second.remove() ? "removed" : "not removed");
    seen(fourth.remove() ? "removed" : "not removed");
    child.on_done([&] { seen("fifth"); });
    sleep_for(1s);
  });
  CHECK(seen == "removed@0, removed@0, body@0, first@0, third@0, fifth@0");
}

TEST_CASE_METHOD(virtual_time, "callback: remove() tells whether it was in time", "[CB-08]") {
  run([&] {
    auto const child = spawn([] {});
    auto handle = child.on_done([] {});
    auto copy = handle;
    seen(handle.remove() ? "removed" : "not removed");
    seen(handle.remove() ? "removed" : "not removed");
    seen(copy.remove() ? "removed" : "not removed");
    fibers::callback_handle own;
    own = child.on_done([&] { seen(own.remove() ? "removed" : "is being called"); });
    auto called = child.on_done([] {});
    sleep_for(1s);
    seen(called.remove() ? "removed" : "was called");
    seen(fibers::callback_handle().remove() ? "removed" : "refers to none");
  });
  CHECK(seen == "removed@0, not removed@0, not removed@0, is being called@0, was called@1, refers to none@1");
}

TEST_CASE_METHOD(virtual_time, "callback: can be removed after its task has ended, until it is called",
                 "[CB-08][CB-09]") {
  run([&] {
    auto const child = spawn([] {});
    auto before = child.on_done([&] { seen("registered before the end"); });
    child.on_done([&] { seen("kept"); });
    child.wait();
    seen(before.remove() ? "removed" : "was called");
    auto after = child.on_done([&] { seen("registered after the end"); });
    seen(after.remove() ? "removed" : "not removed");
    sleep_for(1s);

    auto const other = spawn([] {});
    fibers::callback_handle due;
    other.on_done([&] { seen(due.remove() ? "removed when due" : "not removed"); });
    due = other.on_done([&] { seen("due"); });
    sleep_for(1s);
  });
  CHECK(seen == "registered before the end@0, kept@0, was called@0, removed@0, removed when due@1");
}

TEST_CASE_METHOD(virtual_time, "callback: removing destroys the callable; a handle keeps neither callable nor task") {
  run([&] {
    auto child = spawn([value = counted()] { return value; });
    auto removed = child.on_done([alive = counted()] {});
    auto const called = child.on_done([alive = counted()] {});
    auto const count = [&] { seen(std::to_string(counted::alive) + " alive"); };
    count();
    removed.remove();
    count();
    sleep_for(1s);  // the callable of the task and the other callback have been destroyed; its result exists
    count();
    child = {};
    count();
  });
  CHECK(seen == "3 alive@0, 2 alive@0, 1 alive@1, 0 alive@1");
}

TEST_CASE_METHOD(virtual_time,
                 "callback: removed by several threads while the task ends, it is called or removed once") {
  bool both = false;
  for (int called_rounds = 0, removed_rounds = 0; !both;) {
    int called = 0;
    std::atomic<int> removed = 0;
    run([&] {
      auto const child = spawn([] {});
      auto const handle = child.on_done([&] { ++called; });
      auto const remove = [&removed, handle = handle]() mutable { removed += handle.remove() ? 1 : 0; };
      std::thread first(remove), second(remove);
      if (removed_rounds > called_rounds) sleep_for(1s);
      if (called_rounds >= removed_rounds) first.join();
      sleep_for(1s);
      if (first.joinable()) first.join();
      second.join();
    });
    REQUIRE(called + removed == 1);
    (called == 1 ? called_rounds : removed_rounds) += 1;
    both = called_rounds > 0 && removed_rounds > 0;
  }
}

// --- unfetched errors ---

TEST_CASE_METHOD(virtual_time, "unhandled: an unfetched failure is reported when the last handle is destroyed",
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

TEST_CASE_METHOD(virtual_time, "unhandled: a failure without any handle is reported when the task ends", "[TASK-43]") {
  run([&] {
    spawn("child", [] { fail("no"); }).detach();
    sleep_for(1s);
    seen(std::to_string(unfetched.size()));
  });
  CHECK(seen == "1@1");
  CHECK(std::exchange(unfetched, {}) == std::vector<std::string>{"child: failed: no"});
}

TEST_CASE_METHOD(virtual_time, "unhandled: wait() does not fetch an error") {
  run([&] { spawn("child", [] { fail("no"); }).wait(); });
  CHECK(std::exchange(unfetched, {}) == std::vector<std::string>{"child: failed: no"});
}

TEST_CASE_METHOD(virtual_time, "unhandled: results, cancellations and fetched errors are not reported", "[CB-12]") {
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

TEST_CASE_METHOD(virtual_time, "unhandled: cancelling a failed task suppresses its report", "[TASK-33]") {
  run([&] {
    auto const child = spawn([] { fail("no"); });
    child.wait();
    seen(child.cancel() ? "accepted" : "too late");
  });
  CHECK(seen == "too late@0");
  CHECK(unfetched.empty());
}

TEST_CASE_METHOD(virtual_time, "unhandled: a task without a handle has ended when the hook is called") {
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

TEST_CASE_METHOD(virtual_time, "unhandled: a hook may use the loop: ask for the current task, cancel, and spawn",
                 "[CB-14]") {
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
