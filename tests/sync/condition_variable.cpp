// SPDX-License-Identifier: BSL-1.0

#include <fibers/condition_variable.hpp>
#include <fibers/error.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <mutex>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::condition_variable;
using fibers::mutex;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {
class condition_case : public virtual_time {
 protected:
  // Waits once; says how that ended, and whether it holds the lock.
  auto waiter(std::string name, fibers::duration hold = {}) {
    return spawn([this, name, hold] {
      std::unique_lock lock(m);
      try {
        changed.wait(lock);
        seen(name + (lock.owns_lock() ? " locked" : " unlocked"));
        if (hold > 0s) sleep_for(hold);
      } catch (fibers::cancelled_error const& error) {
        seen(name + " cancelled " + error.message() + (lock.owns_lock() ? " locked" : " unlocked"));
        throw;
      }
    });
  }
  void notify(std::size_t count) {
    std::lock_guard const guard(m);
    changed.notify(count);
  }

  mutex m;
  condition_variable changed;
};
}  // namespace

TEST_CASE_METHOD(condition_case,
                 "condition_variable: waiting releases the lock; a notified waiter acquires it again, in order",
                 "[COND-01][COND-02][COND-03][COND-13][COND-14]") {
  run([&] {
    auto a = waiter("a", 1s);
    auto b = waiter("b");
    auto c = waiter("c");
    this_task::yield();
    seen(m.is_locked() ? "locked" : "free");
    notify(2);
    sleep_for(5s);
    seen(c.done() ? "c is done" : "c waits");
    notify(99);
    c.get();
  });
  CHECK(seen == "free@0, a locked@0, b locked@1, c waits@5, c locked@5");
}

TEST_CASE_METHOD(condition_case, "condition_variable: notify does not release the lock", "[COND-02]") {
  run([&] {
    auto a = waiter("a");
    this_task::yield();
    {
      std::lock_guard const guard(m);
      changed.notify_one();
      sleep_for(1s);
      seen("still mine");
    }
    a.get();
  });
  CHECK(seen == "still mine@1, a locked@1");
}

TEST_CASE_METHOD(condition_case, "condition_variable: notify_all wakes all, one after the other", "[COND-04]") {
  run([&] {
    auto a = waiter("a", 1s);
    auto b = waiter("b", 1s);
    auto c = waiter("c");
    this_task::yield();
    changed.notify_all();
    c.get();
  });
  CHECK(seen == "a locked@0, b locked@1, c locked@2");
}

TEST_CASE_METHOD(condition_case, "condition_variable: waiting without the lock is refused", "[COND-05]") {
  run([&] {
    std::unique_lock lock(m, std::defer_lock);
    seen(how([&] { changed.wait(lock); }).substr(0, 54));
    seen(how([&] { changed.wait(lock, [] { return true; }); }));
  });
  CHECK(seen == "failed: fibers: condition_variable::wait(): the lock d@0, returned@0");
}

TEST_CASE_METHOD(condition_case, "condition_variable: a cancelled waiter holds the lock when cancelled_error is thrown",
                 "[COND-07][COND-16][TRAP-06]") {
  run([&] {
    auto a = waiter("a");
    this_task::yield();
    {
      std::lock_guard const guard(m);
      a.cancel("why");
      sleep_for(1s);
    }
    seen(how([&] { a.get(); }));
    seen(m.is_locked() ? "locked" : "free");
  });
  CHECK(seen == "a cancelled why locked@1, cancelled: why@1, free@1");
}

TEST_CASE_METHOD(
    condition_case,
    "condition_variable: a waiter that is notified, then cancelled while it queues for the lock, throws with the lock",
    "[COND-08][COND-09][COND-17]") {
  run([&] {
    auto a = waiter("a");
    this_task::yield();
    {
      std::lock_guard const guard(m);
      changed.notify_one();
      sleep_for(1s);
      a.cancel("late");
      sleep_for(1s);
    }
    seen(how([&] { a.get(); }));
  });
  CHECK(seen == "a cancelled late locked@2, cancelled: late@2");
}

TEST_CASE_METHOD(
    condition_case,
    "condition_variable: a waiter that is cancelled repeatedly keeps queueing, and throws the latest request",
    "[COND-10]") {
  run([&] {
    auto a = waiter("a");
    this_task::yield();
    {
      std::lock_guard const guard(m);
      a.cancel("one");
      sleep_for(1s);
      a.cancel("two");
      sleep_for(1s);
      a.cancel("three");
      sleep_for(1s);
    }
    seen(how([&] { a.get(); }));
  });
  CHECK(seen == "a cancelled three locked@3, cancelled: three@3");
}

TEST_CASE_METHOD(condition_case, "condition_variable: a predicate is evaluated after each notification",
                 "[COND-11][COND-12][COND-20]") {
  run([&] {
    int items = 0;
    auto a = spawn([&] {
      std::unique_lock lock(m);
      changed.wait(lock, [&] { return items >= 2; });
      seen(std::to_string(items) + (lock.owns_lock() ? " locked" : " unlocked"));
    });
    for (int i = 0; i < 2; ++i) {
      sleep_for(1s);
      ++items;
      notify(1);
    }
    a.get();
  });
  CHECK(seen == "2 locked@2");
}

TEST_CASE_METHOD(condition_case, "condition_variable: after a timeout the lock is held", "[COND-15][WF-16]") {
  run([&] {
    std::unique_lock lock(m);
    seen(fibers::move_on_after(1s, [&] { changed.wait(lock); }) ? "notified" : "gave up");
    seen(lock.owns_lock() ? "locked" : "unlocked");
  });
  CHECK(seen == "gave up@1, locked@1");
}

TEST_CASE_METHOD(condition_case,
                 "condition_variable: a notification is not lost on a waiter that is cancelled in the same step",
                 "[COND-18][COND-19][TRAP-06]") {
  bool const cancel_first = GENERATE(true, false);
  run([&] {
    auto a = waiter("a");
    auto b = waiter("b");
    this_task::yield();
    if (cancel_first) a.cancel();
    changed.notify_one();
    if (!cancel_first) a.cancel();
    b.get();
    a.wait();
  });
  CHECK(seen.contains("b locked@0"));
  CHECK(seen.contains("a cancelled  locked@0"));
}

TEST_CASE_METHOD(
    condition_case,
    "condition_variable: a waiter that is cancelled while it queues for the lock forwards the notification",
    "[COND-19]") {
  run([&] {
    auto a = waiter("a");
    auto b = waiter("b");
    this_task::yield();
    {
      std::lock_guard const guard(m);
      changed.notify_one();
      sleep_for(1s);
      a.cancel();
      sleep_for(1s);
    }
    b.get();
    a.wait();
  });
  CHECK(seen == "a cancelled  locked@2, b locked@2");
}
