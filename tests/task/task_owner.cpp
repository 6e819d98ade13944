// SPDX-License-Identifier: BSL-1.0

// The objects that refer to a task: task<>, which owns it, and handles, which do not.

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

// --- owners ---

TEST_CASE_METHOD(virtual_time, "owner: the destructor of task<> cancels its task and waits for its end") {
  run([&] {
    {
      auto const child = spawn([&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const& error) {
          seen(error.origin().via == fibers::cancel_origin::kind::owner ? "owner" : "other");
          sleep_for(1s);
        }
      });
      sleep_for(1s);
    }
    seen("after");
  });
  CHECK(seen == "owner@1, after@2");
}

TEST_CASE_METHOD(
    virtual_time,
    "owner: if task<> is destroyed before its task began, the body never runs, and the callable is destroyed") {
  run([&] {
    static_cast<void>(spawn([&, argument = counted()] { seen("body"); }));
    seen("after, alive: " + std::to_string(counted::alive));
  });
  CHECK(seen == "after, alive: 0@0");
}

TEST_CASE_METHOD(virtual_time, "owner: task<> waits even if its task swallows the request") {
  run([&] {
    {
      auto const stubborn = spawn([&] {
        for (int i = 0; i != 3; ++i) {
          try {
            sleep_for(1s);
          } catch (cancelled_error const&) {
            seen("swallowed");
          }
        }
      });
      this_task::yield();
    }
    seen("after");
  });
  CHECK(seen == "swallowed@0, after@2");
}

TEST_CASE_METHOD(virtual_time, "owner: the destructor of task<> waits during unwinding as well") {
  run([&] {
    try {
      auto const child = spawn([&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          sleep_for(1s);
          seen("cleaned up");
          throw;
        }
      });
      this_task::yield();
      fail("no");
    } catch (std::runtime_error const& error) {
      seen(error.what());
    }
  });
  CHECK(seen == "cleaned up@1, no@1");
}

TEST_CASE_METHOD(virtual_time, "owner: a request that arrives while task<> waits for its end stays pending") {
  run([&] {
    auto const parent = spawn([&] {
      {
        auto const child = spawn([&] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            sleep_for(2s);
          }
          seen("child ends");
        });
        sleep_for(1s);
      }
      seen("after");
      this_task::yield();
    });
    sleep_for(2s);
    parent.cancel("now");
    seen(how([&] { parent.handle().get(); }));
  });
  CHECK(seen == "child ends@3, after@3, cancelled: now@3");
}

TEST_CASE_METHOD(virtual_time, "owner: a callable may own a task, which ends before its owner does") {
  run([&] {
    auto const inner = [&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        sleep_for(1s);
        seen("inner ends");
      }
    };
    auto const outer = spawn([&, owned = spawn(inner)] { sleep_for(1s); });
    outer.wait();
    seen("outer has ended");
  });
  CHECK(seen == "inner ends@2, outer has ended@2");
}

TEST_CASE_METHOD(virtual_time, "owner: a callable that owns a task and never ran destroys it") {
  run([&] {
    auto outer = spawn([&, owned = spawn([&] { sleep_for(9s); })] { seen("outer"); });
    auto const handle = outer.handle();
    outer.cancel();
    outer.wait();
    seen(handle.cancelled() ? "cancelled" : "not cancelled");
  });
  CHECK(seen == "cancelled@0");
}

TEST_CASE_METHOD(virtual_time, "owner: a task whose callable owns it ends by itself, cancelled") {
  run([&] {
    auto const owner = std::make_shared<task<void>>();
    *owner = spawn([&, owner] {
      sleep_for(1s);
      seen("last line");
    });
    auto const handle = owner->handle();
    handle.wait();
    seen(handle.done() ? "done" : "not done");
  });
  CHECK(seen == "last line@1, done@1");
}

TEST_CASE_METHOD(virtual_time, "owner: assignment ends the task that was owned before") {
  run([&] {
    auto const until_cancelled = [&](char const* name) {
      return [&, name] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          seen(name);
        }
      };
    };
    auto owner = spawn(until_cancelled("first"));
    sleep_for(1s);
    owner = spawn(until_cancelled("second"));
    sleep_for(1s);
    auto& same = owner;
    owner = std::move(same);
    seen(owner ? "owns" : "empty");
    auto moved = std::move(owner);
    seen(owner ? "owns" : "empty");
    moved = {};
    seen(moved ? "owns" : "empty");
  });
  CHECK(seen == "first@1, owns@2, empty@2, second@2, empty@2");
}

TEST_CASE_METHOD(virtual_time, "owner: a detached task continues, and is cancelled at the end of run()") {
  run([&] {
    task_handle<void> handle;
    {
      auto child = spawn([&] {
        try {
          sleep_for(2s);
          seen("goes on");
          sleep_for(9s);
        } catch (cancelled_error const& error) {
          seen(error.origin().via == fibers::cancel_origin::kind::shutdown ? "shutdown" : "other");
        }
      });
      handle = child.detach();
      seen(child ? "owns" : "empty");
    }
    sleep_for(3s);
    seen(handle.done() ? "done" : "runs");
  });
  CHECK(seen == "empty@0, goes on@2, runs@3, shutdown@3");
}

TEST_CASE_METHOD(virtual_time, "owner: 1,000 in a vector end together") {
  int ended = 0;
  run([&] {
    std::vector<task<void>> tasks;
    for (int i = 0; i != 1000; ++i) {
      tasks.push_back(spawn([&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          ++ended;
        }
      }));
    }
    this_task::yield();
  });
  CHECK(ended == 1000);
}

TEST_CASE("owner: on a thread without a loop, the destructor of task<> waits as well") {
  std::atomic<bool> cleaned_up = false;
  bool ended_first = false;
  std::thread thread;
  fibers::run([&] {
    auto child = spawn([&] {
      try {
        sleep_for(fibers::no_timeout);
      } catch (cancelled_error const&) {
        this_task::yield();
        cleaned_up = true;
      }
    });
    this_task::yield();
    auto const handle = child.handle();
    thread = std::thread([&, child = std::move(child)]() mutable {
      child = {};
      ended_first = cleaned_up;
    });
    handle.wait();
  });
  thread.join();
  CHECK(ended_first);
}

// --- handles ---

TEST_CASE_METHOD(virtual_time, "handle: copies refer to the same task, which does not depend on them") {
  run([&] {
    auto const handle = [&] {
      auto const first = spawn([&] {
                           sleep_for(1s);
                           return 5;
                         }).detach();
      task_handle<int> const second = first;
      return second;
    }();
    spawn([&] {
      sleep_for(2s);
      seen("on its own");
    }).detach();
    seen(how([&] { return handle.get(); }));
    sleep_for(2s);
  });
  CHECK(seen == "returned 5@1, on its own@2");
}

TEST_CASE_METHOD(virtual_time, "handle: task_handle<> refers to a task with any result") {
  run([&] {
    auto number = spawn([] { return 5; });
    auto failing = spawn([] { fail("no"); });
    std::vector<task_handle<>> const handles = {number.handle(), failing.handle()};
    for (auto const& handle : handles) seen(how([&] { handle.get(); }));
    seen(how([&] { return number.get(); }));  // the result still exists
  });
  CHECK(seen == "returned@0, failed: no@0, returned 5@0");
}

TEST_CASE_METHOD(virtual_time, "handle: outlives run(), and still knows the outcome") {
  task_handle<int> value;
  task_handle<void> failure;
  task_handle<void> left;
  run([&] {
    value = spawn([] { return 5; }).detach();
    failure = spawn("broken", [] { fail("no"); }).detach();
    left = spawn([] { sleep_for(9s); }).detach();
    sleep_for(1s);
  });
  CHECK(value.done());
  CHECK(value.exception() == nullptr);
  CHECK(failure.name() == "broken");
  CHECK(how([&] { std::rethrow_exception(failure.exception()); }) == "failed: no");
  CHECK(left.cancelled());
  CHECK_FALSE(left.cancel());
  CHECK(left.cancelling() == 1);
  CHECK(tasks_left() == 1);
}

TEST_CASE_METHOD(virtual_time, "owner: task<> may outlive run(), which has ended its task") {
  task<void> child;
  run([&] {
    child = spawn([] { sleep_for(9s); });
    sleep_for(1s);
  });
  CHECK(child.cancelled());
}

TEST_CASE("handle: several threads may use one at once, while the task ends") {
  std::atomic<int> callbacks = 0;
  fibers::run([&] {
    auto const child = spawn([] {
      try {
        for (;;) this_task::yield();
      } catch (cancelled_error const&) {
        for (int i = 0; i != 1000; ++i) this_task::checkpoint();
        throw;
      }
    });
    std::vector<std::thread> threads;
    for (int i = 0; i != 3; ++i) {
      threads.emplace_back([&callbacks, handle = child.handle(), i] {
        do {
          handle.name("by thread " + std::to_string(i));
          handle.on_done([&] { ++callbacks; });
          static_cast<void>(handle.name() + std::to_string(handle.cancelling()));
          auto const copy = handle;
        } while (handle.cancelling() < 100 ? handle.cancel("by a thread") : !handle.done());
        handle.on_done([&] { ++callbacks; });  // called at once
        static_cast<void>(handle.cancelled());
      });
    }
    child.wait();
    for (auto& thread : threads) thread.join();
  });
  CHECK(callbacks >= 6);
}

TEST_CASE("handle: an empty handle says that it is empty") {
  task_handle<> const handle;
  task<int> owner;
  CHECK_FALSE(handle);
  CHECK_FALSE(owner);
  CHECK_THROWS_WITH(handle.done(),
                    "fibers: this task or handle is empty: it was moved from or detached, or never had a "
                    "task");
  CHECK_THROWS_AS(handle.cancel(), invalid_state_error);
  CHECK_THROWS_AS(handle.name(), invalid_state_error);
  CHECK_THROWS_AS(handle.get(), invalid_state_error);
  CHECK_THROWS_AS(owner.get(), invalid_state_error);
  CHECK_THROWS_AS(owner.handle(), invalid_state_error);
  CHECK_THROWS_AS(owner.detach(), invalid_state_error);
  CHECK_THROWS_AS(owner.on_done([] {}), invalid_state_error);
}

TEST_CASE_METHOD(virtual_time,
                 "task: its owner may end it though it waits for its owner, directly or through another") {
  bool const through_another = GENERATE(false, true);
  run([&] {
    auto parent = spawn([&] {
      auto const self = this_task::handle();
      auto between = spawn([&] { self.get(); });
      {
        auto child = spawn([&] {
          try {
            through_another ? between.get() : self.get();
          } catch (fibers::cancelled_error const&) {
            seen("child cancelled");
            throw;
          }
        });
        sleep_for(1s);
      }
      seen("child ended");
      seen(std::to_string(this_task::cancelling()) + " requests");
    });
    seen(how([&] { parent.get(); }));
  });
  CHECK(seen == "child cancelled@1, child ended@1, 0 requests@1, returned@1");
}

TEST_CASE_METHOD(virtual_time, "task: a callback may read the result of the task that has ended") {
  run([&] {
    auto task = spawn([] { return 5; });
    task.on_done([&, handle = task.handle()] { seen(how([&] { return handle.get(); })); });
    task.wait();
    this_task::yield();
  });
  CHECK(seen == "returned 5@0");
}
