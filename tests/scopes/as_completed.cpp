// SPDX-License-Identifier: BSL-1.0

// Tasks in the order in which they end.

#include <fibers/shield.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <fibers/wait.hpp>
#include <optional>
#include <vector>

#include "catch.hpp"
#include "one_pass.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::as_completed;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task;
using fibers::task_handle;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::one_pass;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

task<int> sleeper(int seconds) {
  return spawn("s" + std::to_string(seconds), [seconds] {
    sleep_for(std::chrono::seconds(seconds));
    return seconds;
  });
}

std::vector<task<int>> sleepers(std::initializer_list<int> seconds) {
  std::vector<task<int>> tasks;
  for (int const each : seconds) tasks.push_back(sleeper(each));
  return tasks;
}

/// "s2", or "none" if there are no more.
template <class T>
std::string name(std::optional<task_handle<T>> const& next) {
  return next.has_value() ? next->name() : "none";
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "as_completed: yields the tasks in the order in which they end", "[AC-01]") {
  run([&] {
    auto const tasks = sleepers({2, 3, 1});
    for (auto const& each : as_completed(tasks)) seen(how([&] { return each.get(); }));
  });
  CHECK(seen == "returned 1@1, returned 2@2, returned 3@3");
}

TEST_CASE_METHOD(virtual_time, "as_completed: tasks that ended before come first, in the order of the arguments",
                 "[AC-01]") {
  run([&] {
    auto const tasks = sleepers({3, 2, 1, 9});
    sleep_for(5s);
    for (auto const& each : as_completed(tasks)) seen(each.name());
  });
  CHECK(seen == "s3@5, s2@5, s1@5, s9@9");
}

TEST_CASE_METHOD(virtual_time, "as_completed: yields the same tasks that it was given", "[AC-02]") {
  run([&] {
    auto const one = sleeper(1);
    for (auto const& each : as_completed(std::vector{one.handle()})) {
      seen(each.id() == one.id() ? "the same" : "another");
      static_assert(std::is_same_v<decltype(each), task_handle<int> const&>);
    }
    for (auto const& each : as_completed(std::vector<task_handle<>>{one.handle()})) {
      seen(each.id() == one.id() ? "the same" : "another");
      static_assert(std::is_same_v<decltype(each), task_handle<> const&>);
    }
  });
  CHECK(seen == "the same@1, the same@1");
}

TEST_CASE_METHOD(virtual_time, "as_completed: yields failed and cancelled tasks like others") {
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(spawn([] { sleep_for(9s); }));
    tasks.push_back(spawn([] { throw std::runtime_error("no"); }));
    auto ends = as_completed(tasks);
    seen(how([&] { ends.next()->get(); }));
    tasks[0].cancel("enough");
    seen(how([&] { ends.next()->get(); }));
    seen(name(ends.next()));
  });
  CHECK(seen == "failed: no@0, cancelled: enough@0, none@0");
}

TEST_CASE_METHOD(virtual_time, "as_completed: of an empty range yields nothing") {
  run([&] {
    for (auto const& each : as_completed(std::vector<task_handle<>>())) seen(each.name());
    seen("over");
  });
  CHECK(seen == "over@0");
}

TEST_CASE_METHOD(virtual_time, "as_completed: yields a duplicate task once", "[AC-09]") {
  run([&] {
    auto const one = sleeper(1), two = sleeper(2);
    for (auto const& each : as_completed(std::vector{two.handle(), one.handle(), two.handle()})) seen(each.name());
  });
  CHECK(seen == "s1@1, s2@2");
}

TEST_CASE_METHOD(virtual_time, "as_completed: takes tasks that a view creates while it is iterated", "[AC-02]") {
  run([&] {
    auto tasks = one_pass(3, [](int i) { return sleeper(3 - i); });
    for (auto const& each : as_completed(tasks)) seen(how([&] { return each.get(); }));
  });
  CHECK(seen == "returned 1@1, returned 2@2, returned 3@3");
}

// --- a limit ---

TEST_CASE_METHOD(virtual_time, "as_completed: after the limit next() throws, and the tasks continue",
                 "[AC-03][AC-04][TRAP-30]") {
  run([&] {
    auto const tasks = sleepers({1, 5, 7});
    auto ends = as_completed(tasks, 3s);
    for (int i = 0; i < 3; ++i) seen(how([&] { return ends.next()->name(); }).substr(0, 17));
    seen(std::to_string(tasks[1].cancelling()) + std::to_string(this_task::cancelling()));
    sleep_for(3s);
    seen(how([&] { return ends.next()->name(); }).substr(0, 17));  // it has ended, though late
    seen(how([&] { return ends.next()->name(); }).substr(0, 17));
    tasks[2].wait();
    seen(how([&] { return ends.next()->name(); }));
    seen(name(ends.next()));
  });
  CHECK(seen ==
        "returned s1@1, failed: timed out@3, failed: timed out@3, 00@3, returned s5@6, failed: timed out@6, "
        "returned s7@7, none@7");
}

TEST_CASE_METHOD(virtual_time, "as_completed: if all tasks end in time there is no error, and no timer is left",
                 "[AC-05]") {
  run([&] {
    auto const tasks = sleepers({1, 2});
    for (auto const& each : as_completed(tasks, 9s)) seen(each.name());
    try {
      sleep_for(fibers::no_timeout);
    } catch (fibers::deadlock_error const&) {
      seen("deadlock");
    }
  });
  CHECK(seen == "s1@1, s2@2, deadlock@2");
}

TEST_CASE_METHOD(virtual_time, "as_completed: a task that ends as the time runs out is late, but not lost") {
  run([&] {
    auto const tasks = sleepers({2});
    auto ends = as_completed(tasks, 2s);
    seen(how([&] { return ends.next()->name(); }).substr(0, 17));
    tasks[0].wait();
    seen(name(ends.next()));
  });
  CHECK(seen == "failed: timed out@2, s2@2");
}

// --- in parts, and by several ---

TEST_CASE_METHOD(virtual_time, "as_completed: the loop may be left and resumed", "[AC-06]") {
  run([&] {
    auto const tasks = sleepers({1, 2, 3, 4});
    auto ends = as_completed(tasks);
    for (auto const& each : ends) {
      seen(each.name());
      if (each.name() == "s2") break;
    }
    sleep_for(1s);
    seen("goes on");
    for (auto const& each : ends) seen(each.name());
    seen(name(ends.next()));
  });
  CHECK(seen == "s1@1, s2@2, goes on@3, s3@3, s4@4, none@4");
}

TEST_CASE_METHOD(virtual_time, "as_completed: of several waiting tasks the first gets the first task that ends",
                 "[AC-07][AC-08]") {
  run([&] {
    auto const tasks = sleepers({2, 1, 3});
    auto ends = as_completed(tasks);
    std::vector<task<void>> takers;
    for (int i = 0; i < 3; ++i) takers.push_back(spawn([&, i] { seen(std::to_string(i) + " " + name(ends.next())); }));
    fibers::wait(takers);
  });
  CHECK(seen == "0 s1@1, 1 s2@2, 2 s3@3");
}

TEST_CASE_METHOD(virtual_time, "as_completed: a task that was promised to a waiter is not given to a newcomer",
                 "[AC-07]") {
  run([&] {
    auto const tasks = sleepers({1, 2});
    auto ends = as_completed(tasks);
    auto const first = spawn([&] { seen("first " + name(ends.next())); });
    auto const second = spawn([&] {
      sleep_for(1s);
      this_task::yield();  // the wait of the first has completed, and its task has not run yet
      seen("second " + name(ends.next()));
    });
    first.wait();
    second.wait();
  });
  CHECK(seen == "first s1@1, second s2@2");
}

TEST_CASE_METHOD(virtual_time, "as_completed: waiters in excess of the tasks learn that there are no more", "[AC-08]") {
  run([&] {
    auto const tasks = sleepers({1});
    auto ends = as_completed(tasks);
    std::vector<task<void>> takers;
    for (int i = 0; i < 4; ++i) takers.push_back(spawn([&, i] { seen(std::to_string(i) + " " + name(ends.next())); }));
    fibers::wait(takers);
  });
  CHECK(seen == "0 s1@1, 1 none@1, 2 none@1, 3 none@1");
}

// --- cancelled ---

TEST_CASE_METHOD(virtual_time, "as_completed: a cancelled next() leaves the tasks alone, and loses none",
                 "[AC-11][TRAP-30]") {
  run([&] {
    auto const tasks = sleepers({2, 3});
    auto ends = as_completed(tasks, 9s);
    auto const taker = spawn([&] { seen(name(ends.next())); });
    sleep_for(1s);
    taker.cancel_and_wait();
    seen(std::to_string(taker.cancelled()) + std::to_string(tasks[0].cancelling()));
    for (auto const& each : ends) seen(each.name());
  });
  CHECK(seen == "10@1, s2@2, s3@3");
}

TEST_CASE_METHOD(virtual_time,
                 "as_completed: a next() that is cancelled at the instant at which a task ends returns that task",
                 "[AC-11]") {
  run([&] {
    auto const tasks = sleepers({1, 2});
    auto ends = as_completed(tasks);
    auto taker = spawn([&] {
      seen(name(ends.next()));
      seen(name(ends.next()));
    });
    tasks[0].on_done([&] { taker.cancel("late"); });
    seen(how([&] { taker.get(); }));
    seen(name(ends.next()));
  });
  CHECK(seen == "s1@1, cancelled: late@1, s2@2");
}

TEST_CASE_METHOD(virtual_time,
                 "as_completed: if the first waiter is cancelled just before a task ends, the next one gets it",
                 "[AC-11]") {
  run([&] {
    task<void> first;
    auto const canceller = spawn([&] {
      sleep_for(1s);
      first.cancel();
    });
    this_task::yield();  // its timer is older than the sleeper's
    auto const tasks = sleepers({1});
    auto ends = as_completed(tasks);
    first = spawn([&] { seen("first " + name(ends.next())); });
    auto const second = spawn([&] { seen("second " + name(ends.next())); });
    second.wait();
    seen(std::to_string(first.cancelled()));
  });
  CHECK(seen == "second s1@1, 1@1");
}

TEST_CASE_METHOD(virtual_time, "as_completed: a pending request is thrown though a task has ended", "[TASK-37]") {
  run([&] {
    auto const tasks = sleepers({1});
    tasks[0].wait();
    auto ends = as_completed(tasks);
    this_task::cancel("mine");
    seen(how([&] { ends.next(); }));
    seen(name(ends.next()));
    this_task::cancel("mine");
    seen(how([&] { ends.next(); }));  // also if there are no more tasks
  });
  CHECK(seen == "cancelled: mine@1, s1@1, cancelled: mine@1");
}

TEST_CASE_METHOD(virtual_time, "as_completed: a timeout around next() ends the wait, and no task is lost",
                 "[TRAP-30]") {
  run([&] {
    auto const tasks = sleepers({2});
    auto ends = as_completed(tasks);
    seen(how([&] { fibers::with_timeout(1s, [&] { ends.next(); }); }).substr(0, 17));
    seen(name(ends.next()));
  });
  CHECK(seen == "failed: timed out@1, s2@2");
}

TEST_CASE_METHOD(virtual_time, "as_completed: in a shield it is not cancelled from outside") {
  run([&] {
    auto const tasks = sleepers({2});
    auto ends = as_completed(tasks, 5s);
    auto taker = spawn([&] {
      fibers::with_shield([&] { seen(name(ends.next())); });
      this_task::yield();
    });
    sleep_for(1s);
    taker.cancel("out");
    seen(how([&] { taker.get(); }));
  });
  CHECK(seen == "s2@2, cancelled: out@2");
}

TEST_CASE_METHOD(virtual_time, "as_completed: may be destroyed while tasks run, and leaves nothing on them") {
  run([&] {
    auto const tasks = sleepers({1, 2});
    {
      auto ends = as_completed(tasks);
      seen(name(ends.next()));
    }
    fibers::wait(tasks);
    seen("done");
  });
  CHECK(seen == "s1@1, done@2");
}

TEST_CASE_METHOD(virtual_time, "as_completed: keeps no result after it has returned the task") {
  run([&] {
    std::vector<task<counted>> tasks;
    for (int i = 1; i <= 4; ++i) {
      tasks.push_back(spawn([i] {
        sleep_for(std::chrono::seconds(i));
        return counted();
      }));
    }
    auto completed = as_completed(tasks);
    for (auto& each : tasks) each.detach();
    sleep_for(2500ms);
    for (int i = 1; i <= 4; ++i) {  // two have ended before next(), the calls wait for the other two
      completed.next();
      seen(std::to_string(counted::alive) + " kept");
    }
  });
  CHECK(seen == "1 kept@2.5, 0 kept@2.5, 0 kept@3, 0 kept@4");
}
