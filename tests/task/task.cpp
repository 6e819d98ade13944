// SPDX-License-Identifier: BSL-1.0

// A task's life and its outcome. Owners are in task_owner.cpp, callbacks in task_callback.cpp, cancellation in
// task_cancel.cpp, and exceptions of suspended tasks in task_unwind.cpp.

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

int twice_later(int depth) {
  if (depth == 0) {
    sleep_for(1s);
    return 1;
  }
  return 2 * twice_later(depth - 1);
}

}  // namespace

// --- start and end ---

TEST_CASE_METHOD(virtual_time, "task: spawn() only queues; the body runs after the spawning task has suspended",
                 "[TASK-01][CB-01]") {
  run([&] {
    auto child = spawn([&] {
      seen("child");
      return 5;
    });
    seen(child.done() || child.cancelled() ? "done" : "not begun");
    this_task::yield();
    seen(child.done() && !child.cancelled() ? "done" : "not done");
    seen(how([&] { return child.get(); }));
  });
  CHECK(seen == "not begun@0, child@0, done@0, returned 5@0");
}

TEST_CASE_METHOD(virtual_time, "task: functions called to any depth may suspend, and return their values",
                 "[TASK-02]") {
  CHECK(run([&] { return spawn([] { return twice_later(10); }).get(); }) == 1024);
}

TEST_CASE_METHOD(virtual_time, "task: spawned tasks run in FIFO order, and tasks that they spawn run after them",
                 "[CB-15][CB-17]") {
  run([&] {
    auto first = spawn([&] {
      seen("first");
      spawn([&] { seen("spawned by first"); }).detach();
    });
    auto second = spawn([&] { seen("second"); });
    sleep_for(1s);
  });
  CHECK(seen == "first@0, second@0, spawned by first@0");
}

TEST_CASE_METHOD(virtual_time, "task: the callable is destroyed when the body ends, the result with the last handle") {
  run([&] {
    auto child = spawn([argument = counted()] { return counted(); });
    this_task::yield();
    seen("ended, alive: " + std::to_string(counted::alive));
    auto handle = child.detach();
    seen("detached, alive: " + std::to_string(counted::alive));
    handle = {};
    seen("dropped, alive: " + std::to_string(counted::alive));
  });
  CHECK(seen == "ended, alive: 1@0, detached, alive: 1@0, dropped, alive: 0@0");
}

TEST_CASE_METHOD(virtual_time, "task: if copying the callable throws, spawn() throws, and no task exists",
                 "[TASK-42]") {
  struct uncopyable {
    uncopyable() = default;
    uncopyable(uncopyable const&) { fail("no copies"); }
    void operator()() const {}
  } const callable;
  run([&] { seen(how([&] { spawn(callable).detach(); })); });
  CHECK(seen == "failed: no copies@0");
}

TEST_CASE_METHOD(virtual_time, "task: a result whose move throws fails the task") {
  struct immovable {
    immovable() = default;
    immovable(immovable&&) { fail("no moves"); }
  };
  run([&] { seen(how([] { static_cast<void>(spawn([] { return immovable(); }).get()); })); });
  CHECK(seen == "failed: no moves@0");
}

// --- results ---

TEST_CASE_METHOD(virtual_time, "task: a result may be a reference") {
  int number = 1;
  run([&] {
    auto child = spawn([&]() -> int& { return number; });
    auto const handle = child.handle();
    handle.get() += 1;
    child.get() += 1;
    handle.get() += 1;  // may be repeated
  });
  CHECK(number == 4);
}

TEST_CASE_METHOD(virtual_time, "task: a result may be a reference to const") {
  static int const number = 7;
  int const* address = nullptr;
  run([&] { address = &spawn([]() -> int const& { return number; }).get(); });
  CHECK(address == &number);
}

TEST_CASE_METHOD(virtual_time, "task: a result may be move-only, and a handle moves it out once") {
  run([&] {
    auto child = spawn([] { return std::make_unique<int>(5); });
    auto const handle = child.handle();
    seen(*handle.get() == 5 ? "five" : "other");
    seen(how([&] { static_cast<void>(handle.get()); }).substr(0, 43));
    seen(how([&] { static_cast<void>(child.get()); }).substr(0, 43));
  });
  CHECK(seen == "five@0, failed: fibers: the result of this task was@0, failed: fibers: the result of this task was@0");
}

TEST_CASE_METHOD(virtual_time, "task: a result need not be default-constructible, and may be const") {
  struct number {
    explicit number(int v) : value(v) {}
    int value;
  };
  run([&] {
    auto child = spawn([]() -> number const { return number(5); });
    static_assert(std::is_same_v<decltype(child), task<number const>>);
    seen(std::to_string(child.handle().get().value + child.get().value));
  });
  CHECK(seen == "10@0");
}

TEST_CASE_METHOD(virtual_time, "task: a result may be a task, which is returned as it is", "[TASK-41]") {
  run([&] {
    auto outer = spawn([&] {
      return spawn([] {
        sleep_for(1s);
        return 5;
      });
    });
    auto inner = outer.get();
    seen(inner.done() ? "done" : "still runs");
    seen(how([&] { return inner.get(); }));
  });
  CHECK(seen == "still runs@0, returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "task: a task returned by an unobserved task is cancelled, and ends") {
  run([&] {
    spawn([&] {
      auto inner = spawn([&] {
        while (!seen.contains("ends")) {
          try {
            sleep_for(1s);
            seen("ends");
          } catch (cancelled_error const& error) {
            seen(error.origin().via == fibers::cancel_origin::kind::owner ? "owner" : "shutdown");
          }
        }
      });
      this_task::yield();
      inner.on_done([&] { seen("callback"); });
      return inner;
    }).detach();
    sleep_for(500ms);
  });
  CHECK(seen == "owner@0, shutdown@0.5, ends@1.5, callback@1.5");
}

TEST_CASE_METHOD(virtual_time, "task: get() moves the result out, so a second one is an error", "[CB-03]") {
  run([&] {
    auto child = spawn([] { return 5; });
    auto const handle = child.handle();
    seen(how([&] { return handle.get(); }));
    seen(how([&] { return handle.get(); }));  // copies the result
    seen(how([&] { return child.get(); }));
    seen(how([&] { return child.get(); }));
    seen(how([&] { return handle.get(); }));
  });
  char const* const taken =
      "failed: fibers: the result of this task was moved out by an earlier get(); keep it, or take copies with "
      "task_handle<>::get() before@0";
  CHECK(seen == std::string("returned 5@0, returned 5@0, returned 5@0, ") + taken + ", " + taken);
}

TEST_CASE_METHOD(virtual_time, "task: get() of a task that has ended returns its value without yielding", "[CB-13]") {
  run([&] {
    auto child = spawn([] { return 5; });
    child.wait();
    auto const other = spawn([&] { seen("other"); });
    seen(how([&] { return child.get(); }));
  });
  CHECK(seen == "returned 5@0");
}

TEST_CASE_METHOD(virtual_time, "task: exception() is null for a value, and an error before the end", "[CB-03]") {
  run([&] {
    auto const child = spawn([] { return 5; });
    seen(how([&] { static_cast<void>(child.exception()); }));
    child.wait();
    seen(child.exception() == nullptr ? "none" : "some");
    seen(child.cancel() ? "accepted" : "too late");
  });
  CHECK_THAT(seen.text(), ContainsSubstring("has not ended: wait() for it first@0, none@0, too late@0"));
}

TEST_CASE_METHOD(virtual_time, "task: what left the body is thrown at every get(), and is the same object each time",
                 "[TASK-12][CB-04]") {
  std::vector<void const*> objects;
  run([&] {
    auto child = spawn([] { fail("no"); });
    for (int i = 0; i != 3; ++i) {
      try {
        child.get();
      } catch (std::runtime_error const& error) {
        objects.push_back(&error);
      }
    }
    seen(how([&] { std::rethrow_exception(child.exception()); }));
  });
  CHECK(seen == "failed: no@0");
  REQUIRE(objects.size() == 3);
  CHECK((objects[0] == objects[1] && objects[1] == objects[2]));
}

TEST_CASE_METHOD(virtual_time, "task: an exception outlives the task that threw it") {
  std::exception_ptr kept;
  run([&] {
    try {
      spawn([text = std::string(100, 'x')] { throw std::runtime_error(text); }).get();
    } catch (...) {
      kept = std::current_exception();
    }
    spawn([&] { seen(how([&] { std::rethrow_exception(kept); }).substr(0, 10)); }).get();
  });
  CHECK(seen == "failed: xx@0");
  CHECK(how([&] { std::rethrow_exception(kept); }) == "failed: " + std::string(100, 'x'));
}

TEST_CASE_METHOD(virtual_time, "task: an exception not derived from std::exception is thrown as well") {
  run([&] {
    try {
      spawn([] { throw 5; }).get();
    } catch (int number) {
      seen(std::to_string(number));
    }
  });
  CHECK(seen == "5@0");
}

// --- callables ---

TEST_CASE_METHOD(virtual_time, "task: a callable may be move-only, and is called as an rvalue") {
  struct once {
    std::unique_ptr<int> number = std::make_unique<int>(5);
    int operator()() && { return *number; }
  };
  CHECK(run([] { return spawn(once()).get(); }) == 5);
}

TEST_CASE_METHOD(virtual_time, "task: a callable may be a function, a pointer to one, or a std::function") {
  static int calls = 0;
  struct call {
    static void it() { ++calls; }
  };
  run([] {
    spawn(call::it).get();
    spawn(&call::it).get();
    spawn(std::function<void()>(call::it)).get();
    auto const callable = [] { ++calls; };
    spawn(callable).get();
    spawn(std::ref(callable)).get();
  });
  CHECK(calls == 5);
}

TEST_CASE_METHOD(virtual_time, "task: an empty callable is refused at once") {
  run([&] {
    seen(how([] { spawn(std::function<void()>()).detach(); }));
    seen(how([] { spawn("empty", static_cast<void (*)()>(nullptr)).detach(); }));
    auto const child = spawn([] {});
    seen(how([&] { child.on_done(std::function<void()>()); }));
  });
  char const* const refusal = "failed: fibers: an empty callable was given; give a function that can be called@0";
  CHECK(seen == std::string(refusal) + ", " + refusal + ", " + refusal);
  CHECK_THROWS_AS(fibers::run(std::function<void()>()), std::invalid_argument);
}

// --- names and numbers ---

TEST_CASE_METHOD(virtual_time, "task: a task without a name gets a unique, increasing one", "[TASK-03]") {
  std::vector<std::string> names;
  std::vector<fibers::task_id> ids;
  run([&] {
    for (int i = 0; i != 3; ++i) {
      auto const child = spawn([&] { names.push_back(this_task::name()); });
      names.push_back(child.name());
      ids.push_back(child.id());
      child.wait();
    }
  });
  REQUIRE(names.size() == 6);
  for (std::size_t i = 0; i != 3; ++i) {
    CHECK(names[2 * i] == "task-" + std::to_string(ids[i].value));
    CHECK(names[2 * i + 1] == names[2 * i]);
  }
  CHECK((ids[0] < ids[1] && ids[1] < ids[2]));
}

TEST_CASE_METHOD(virtual_time, "task: a name is known inside and outside, and can be changed by both", "[TASK-03]") {
  run([&] {
    auto const child = spawn(std::string("fetch"), [&] {
      seen(this_task::name());
      this_task::handle().name("parse");
      this_task::yield();
      seen(this_task::name());
    });
    seen(child.name());
    this_task::yield();
    seen(child.name());
    child.handle().name("store");
    child.wait();
    seen(child.name());
  });
  CHECK(seen == "fetch@0, fetch@0, parse@0, store@0, store@0");
}

TEST_CASE_METHOD(virtual_time, "task: a name may be empty, and need not outlive spawn()", "[TASK-03]") {
  run([&] {
    auto text = std::make_unique<std::string>("a name too long to be kept in place");
    auto const child = spawn(*text, [] {});
    text.reset();
    seen(child.name());
    auto const nameless = spawn("", [] {});
    seen(nameless.name().substr(0, 5));
  });
  CHECK(seen == "a name too long to be kept in place@0, task-@0");
}

// --- misuse ---

TEST_CASE("misuse: spawn() outside run() says what to do") {
  CHECK_THROWS_WITH(spawn([] {}), ContainsSubstring("call spawn() inside of fibers::run([] { … }) (task.cpp:"));
}

TEST_CASE_METHOD(virtual_time, "misuse: a task that waits for itself gets an error at that wait", "[TASK-04]") {
  run([&] {
    auto const loner = spawn("loner", [&] {
      auto const self = this_task::handle();
      seen(how([&] { self.get(); }));
      seen(how([&] { self.wait(); }).substr(0, 62));
      this_task::yield();
      seen("goes on");
    });
    loner.wait();
  });
  CHECK(seen ==
        "failed: fibers: this task would wait for its own end: 'loner' -> 'loner'; let one of them wait for something "
        "else, such as an event@0, failed: fibers: this task would wait for its own end: 'loner' @0, goes on@0");
}

TEST_CASE_METHOD(virtual_time,
                 "misuse: get() in a cycle is an error for the task that closes it, and the others continue",
                 "[TASK-04]") {
  run([&] {
    std::vector<task_handle<>> ring;
    std::vector<task<void>> tasks;
    for (std::size_t i = 0; i != 3; ++i) {
      tasks.push_back(spawn("ring " + std::to_string(i), [&ring, i] {
        this_task::yield();
        ring[(i + 1) % 3].get();
      }));
      ring.push_back(tasks.back().handle());
    }
    for (auto const& task : ring) seen(how([&] { task.get(); }));
  });
  std::string const error =
      "failed: fibers: this task would wait for its own end: 'ring 2' -> 'ring 0' -> 'ring 1' -> 'ring 2'; let one of "
      "them wait for something else, such as an event@0";
  CHECK(seen == error + ", " + error + ", " + error);
}

TEST_CASE_METHOD(virtual_time, "misuse: the deadlock report names the tasks that wait() in a cycle", "[TASK-08]") {
  std::string report;
  run([&] {
    std::vector<task_handle<>> ring;
    auto const wait_for = [&ring](std::size_t other) {
      return [&ring, other] {
        this_task::yield();
        ring[other].wait();
      };
    };
    auto const a = spawn("a", wait_for(1));
    auto const b = spawn("b", wait_for(0));
    auto const ended = spawn("ended", [] {});
    ring = {a.handle(), b.handle()};
    try {
      a.wait();
    } catch (fibers::deadlock_error const& error) {
      report = error.what();
    }
  });
  CHECK_THAT(report, ContainsSubstring("'main' waits at task.cpp:"));
  CHECK_THAT(report, ContainsSubstring("'a' waits at task.cpp:"));
  CHECK_THAT(report, ContainsSubstring("'b' waits at task.cpp:"));
  CHECK_THAT(report, !ContainsSubstring("'ended'"));
}

TEST_CASE("misuse: a plain thread that waits as a task does gets an error") {
  std::string told;
  fibers::run([&] {
    auto const child = spawn([] { sleep_for(fibers::no_timeout); });
    std::thread([&, handle = child.handle()] { told = how([&] { handle.wait(); }); }).join();
  });
  CHECK_THAT(told, ContainsSubstring("this needs a running task: call it inside of fibers::run([] { … }) (task.cpp:"));
}
