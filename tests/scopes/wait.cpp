// SPDX-License-Identifier: BSL-1.0

// wait() waits for several tasks and does not affect them.

#include <fibers/shield.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <fibers/wait.hpp>
#include <list>
#include <vector>

#include "catch.hpp"
#include "one_pass.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::return_when;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task;
using fibers::task_handle;
using fibers::wait_result;
using fibers::testing::how;
using fibers::testing::one_pass;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

/// Sleeps, and then returns, fails or ends cancelled.
task<void> sleeper(std::string const& name, fibers::duration length, std::string const& end = "returns") {
  return spawn(name, [length, end] {
    sleep_for(length);
    if (end == "fails") throw std::runtime_error("no");
    if (end == "cancels") throw fibers::cancelled_error();
  });
}

/// "done a b, pending c"
std::string names(wait_result const& result) {
  std::string text = "done";
  for (auto const& each : result.done) text += " " + each.name();
  text += ", pending";
  for (auto const& each : result.pending) text += " " + each.name();
  return text;
}

std::vector<task<void>> three() {
  std::vector<task<void>> tasks;
  tasks.push_back(sleeper("a", 2s));
  tasks.push_back(sleeper("b", 1s));
  tasks.push_back(sleeper("c", 3s));
  return tasks;
}

}  // namespace

// --- conditions ---

TEST_CASE_METHOD(virtual_time, "wait: for all returns when the last is done, and a second call returns without delay",
                 "[WAIT-01]") {
  run([&] {
    auto const tasks = three();
    seen(names(fibers::wait(tasks)));
    seen(names(fibers::wait(tasks)));
    seen(names(fibers::wait(tasks, return_when::first_completed)));
  });
  CHECK(seen == "done a b c, pending@3, done a b c, pending@3, done a b c, pending@3");
}

TEST_CASE_METHOD(virtual_time, "wait: for the first returns with it, and the others continue", "[WAIT-04]") {
  run([&] {
    auto const tasks = three();
    seen(names(fibers::wait(tasks, return_when::first_completed)));
    sleep_for(5s);
    seen(std::to_string(tasks[2].done()) + std::to_string(tasks[2].cancelled()));
  });
  CHECK(seen == "done b, pending a c@1, 10@6");
}

TEST_CASE_METHOD(virtual_time, "wait: a task that has ended before the waiting task ran is done too", "[WAIT-05]") {
  run([&] {
    std::vector<task<void>> tasks;
    for (char const* const name : {"a", "b", "c"}) tasks.push_back(sleeper(name, 1s));
    tasks.push_back(sleeper("d", 2s));
    seen(names(fibers::wait(tasks, return_when::first_completed)));
  });
  CHECK(seen == "done a b c, pending d@1");
}

TEST_CASE_METHOD(virtual_time, "wait: for the first failure returns with it, at once or later", "[WAIT-06][WAIT-07]") {
  auto const length = GENERATE(0s, 2s);
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(sleeper("slow", 9s));
    tasks.push_back(sleeper("quick", 1s));
    tasks.push_back(sleeper("bad", length, "fails"));
    seen(names(fibers::wait(tasks, return_when::first_exception)));
    seen(how([&] { tasks[2].get(); }));
  });
  CHECK(seen == (length == 0s ? "done bad, pending slow quick@0, failed: no@0"
                              : "done quick bad, pending slow@2, failed: no@2"));
}

TEST_CASE_METHOD(virtual_time, "wait: a task that failed before counts as the first failure", "[WAIT-06]") {
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(sleeper("slow", 9s));
    tasks.push_back(sleeper("bad", 1s, "fails"));
    sleep_for(2s);
    seen(names(fibers::wait(tasks, return_when::first_exception)));
    seen(how([&] { tasks[1].get(); }));
  });
  CHECK(seen == "done bad, pending slow@2, failed: no@2");
}

TEST_CASE_METHOD(virtual_time, "wait: a cancelled task is not a failure", "[WAIT-08]") {
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(sleeper("a", 1s, "cancels"));
    tasks.push_back(sleeper("b", 9s));
    tasks.push_back(sleeper("c", 3s));
    sleep_for(2s);
    tasks[1].cancel();
    seen(names(fibers::wait(tasks, return_when::first_exception)));
  });
  CHECK(seen == "done a b c, pending@3");
}

TEST_CASE_METHOD(virtual_time, "wait: does not throw the tasks' errors", "[WAIT-09]") {
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(sleeper("a", 1s, "fails"));
    tasks.push_back(sleeper("b", 2s, "cancels"));
    auto const result = fibers::wait(tasks);
    seen(names(result));
    seen(how([&] { result.done[0].get(); }));
    seen(how([&] { result.done[1].get(); }));
  });
  CHECK(seen == "done a b, pending@2, failed: no@2, cancelled@2");
}

// --- a limit ---

TEST_CASE_METHOD(virtual_time, "wait: an expired limit is no error, and the others continue", "[WAIT-10][TRAP-30]") {
  run([&] {
    auto const tasks = three();
    seen(names(fibers::wait(tasks, return_when::all_completed, 1500ms)));
    seen(names(fibers::wait(tasks, return_when::first_exception, 0s)));
    seen(names(fibers::wait(tasks, return_when::all_completed, -1s)));
    seen(names(fibers::wait(tasks, return_when::all_completed, fibers::no_timeout)));
  });
  CHECK(seen == "done b, pending a c@1.5, done b, pending a c@1.5, done b, pending a c@1.5, done a b c, pending@3");
}

TEST_CASE_METHOD(virtual_time, "wait: with a limit of 0, tasks that need no time are done", "[WAIT-11]") {
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(sleeper("a", 0s));
    tasks.push_back(spawn("b", [] {}));
    seen(names(fibers::wait(tasks, return_when::all_completed, 0s)));
  });
  CHECK(seen.contains("b"));
  CHECK_FALSE(seen.contains("pending b"));
}

TEST_CASE_METHOD(virtual_time, "wait: a task that ends exactly at the limit is done", "[WAIT-11]") {
  bool const spawned_before = GENERATE(false, true);
  CAPTURE(spawned_before);
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(sleeper("a", 2s));
    if (spawned_before) this_task::yield();  // so that its timer is older
    seen(names(fibers::wait(tasks, return_when::all_completed, 2s)));
  });
  CHECK(seen == "done a, pending@2");
}

// --- arguments ---

TEST_CASE_METHOD(virtual_time, "wait: a task given twice counts once", "[WAIT-02]") {
  run([&] {
    auto const one = sleeper("a", 1s);
    auto const two = sleeper("b", 2s);
    std::vector<task_handle<void>> const tasks{one.handle(), two.handle(), one.handle()};
    seen(names(fibers::wait(tasks, return_when::first_completed)));
    seen(names(fibers::wait(tasks)));
  });
  CHECK(seen == "done a, pending b@1, done a b, pending@2");
}

TEST_CASE_METHOD(virtual_time, "wait: for nothing at all is refused", "[WAIT-03]") {
  run([&] {
    seen(how([] { fibers::wait(std::vector<task_handle<>>()); }));
    seen(how([] { fibers::wait(std::vector<task_handle<>>(1)); }));  // an empty handle
  });
  CHECK(seen.contains("failed: fibers: wait() for no tasks at all"));
  CHECK(seen.contains("failed: fibers: this task or handle is empty"));
}

TEST_CASE_METHOD(virtual_time, "wait: for itself is refused") {
  run([&] {
    std::vector<task_handle<>> const tasks{this_task::handle()};
    seen(how([&] { fibers::wait(tasks); }));
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen.contains("failed: fibers: task 'main' would wait for its own end"));
  CHECK(seen.contains("returned@1"));
}

TEST_CASE_METHOD(virtual_time, "wait: takes any range of tasks or handles, also a single-pass one", "[WAIT-12]") {
  run([&] {
    auto const tasks = three();
    std::list<task_handle<>> handles;
    for (auto const& each : tasks) handles.push_back(each.handle());
    seen(names(fibers::wait(handles, return_when::first_completed)));
    seen(names(fibers::wait(one_pass(3, [&](int i) { return tasks[static_cast<std::size_t>(i)].handle(); }))));

    auto lazily = one_pass(2, [](int n) { return sleeper("s" + std::to_string(n), std::chrono::seconds(n)); });
    seen(names(fibers::wait(lazily)));  // a task<> without an owner belongs to its loop
  });
  CHECK(seen == "done b, pending a c@1, done a b c, pending@3, done s0 s1, pending@4");
}

TEST_CASE_METHOD(virtual_time, "wait: takes type-erased handles of different results") {
  run([&] {
    auto const number = spawn("number", [] { return 5; });
    auto const text = spawn("text", [] { return std::string("five"); });
    seen(names(fibers::wait(std::vector<task_handle<>>{number.handle(), text.handle()})));
    seen(how([&] { return number.handle().get(); }));
  });
  CHECK(seen == "done number text, pending@0, returned 5@0");
}

// --- the waiter is cancelled ---

TEST_CASE_METHOD(virtual_time, "wait: if cancelled, it leaves the tasks alone", "[WAIT-13][TRAP-30]") {
  auto const when = GENERATE(return_when::first_completed, return_when::first_exception, return_when::all_completed);
  run([&] {
    std::vector<task<void>> tasks;
    tasks.push_back(sleeper("a", 5s));
    tasks.push_back(sleeper("b", 7s));
    auto waiter = spawn([&] { fibers::wait(tasks, when, 9s); });
    sleep_for(1s);
    waiter.cancel("enough");
    seen(how([&] { waiter.get(); }));
    seen(std::to_string(tasks[0].cancelling()) + std::to_string(tasks[1].done()));
    seen(names(fibers::wait(tasks)));
  });
  CHECK(seen == "cancelled: enough@1, 00@1, done a b, pending@7");
}

TEST_CASE_METHOD(virtual_time, "wait: a pending request is thrown though all are done", "[TASK-37]") {
  run([&] {
    auto const tasks = three();
    fibers::wait(tasks);
    this_task::cancel("mine");
    seen(how([&] { fibers::wait(tasks); }));
    this_task::cancel("mine");
    seen(how([&] { fibers::wait(tasks, return_when::all_completed, 0s); }));
  });
  CHECK(seen == "cancelled: mine@3, cancelled: mine@3");
}

TEST_CASE_METHOD(virtual_time, "wait: if cancelled at the instant at which it completes, it returns its result") {
  run([&] {
    auto const child = sleeper("a", 1s);
    auto waiter = spawn([&] {
      seen(names(fibers::wait(std::vector{child.handle()})));
      seen(how([] { sleep_for(1s); }));
    });
    child.on_done([&] { waiter.cancel("late"); });
    waiter.wait();
  });
  CHECK(seen == "done a, pending@1, cancelled: late@1");
}

TEST_CASE_METHOD(virtual_time, "wait: can be ended by a timeout around it, and shielded") {
  run([&] {
    auto const child = sleeper("a", 5s);
    std::vector const tasks{child.handle()};
    seen(how([&] { fibers::with_timeout(1s, [&] { fibers::wait(tasks); }); }).substr(0, 17));
    auto shielded = spawn([&] {
      fibers::with_shield([&] { seen(names(fibers::wait(tasks))); });
      this_task::yield();
    });
    this_task::yield();
    shielded.cancel("out");
    seen(how([&] { shielded.get(); }));
  });
  CHECK(seen == "failed: timed out@1, done a, pending@5, cancelled: out@5");
}

TEST_CASE_METHOD(virtual_time, "wait: for tasks that can never end is a deadlock, which the caller may outlive") {
  run([&] {
    auto const stuck = spawn("stuck", [] { sleep_for(fibers::no_timeout); });
    try {
      fibers::wait(std::vector{stuck.handle()});
    } catch (fibers::deadlock_error const& error) {
      seen(std::string(error.what()).find("'stuck' waits at wait.cpp") != std::string::npos ? "deadlock"
                                                                                            : error.what());
    }
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "deadlock@0, returned@1");
}

// --- leaks ---

TEST_CASE_METHOD(virtual_time, "wait: leaves nothing on tasks that are pending, and no timer", "[WAIT-14]") {
  run([&] {
    auto const slow = sleeper("slow", 9s);
    auto const stuck = spawn([] { sleep_for(fibers::no_timeout); });
    std::vector<task_handle<void>> const tasks{slow.handle(), stuck.handle()};
    for (int i = 0; i < 3; ++i) fibers::wait(tasks, return_when::first_completed, 1s);
    auto waiter = spawn([&] { fibers::wait(tasks, return_when::first_completed, 99s); });
    this_task::yield();
    waiter.cancel_and_wait();
    slow.wait();  // would wake any waiter that is still in the list
    seen("slow is done");
    try {
      sleep_for(fibers::no_timeout);
    } catch (fibers::deadlock_error const&) {
      seen("no timer is left");
    }
  });
  CHECK(seen == "slow is done@9, no timer is left@9");
}

TEST_CASE_METHOD(virtual_time, "wait: a thousand tasks may have several waiting tasks at once") {
  run([&] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < 1000; ++i) tasks.push_back(sleeper("s", std::chrono::milliseconds(i % 10)));
    std::vector<task<std::size_t>> waiters;
    for (int i = 0; i < 3; ++i) waiters.push_back(spawn([&] { return fibers::wait(tasks).done.size(); }));
    std::size_t sum = 0;
    for (auto& each : waiters) sum += each.get();
    seen(std::to_string(sum));
  });
  CHECK(seen == "3000@0.009");
}

// --- cancel_and_wait ---

namespace {

static_assert(std::is_same_v<task<>, task<void>>);

/// Sleeps, and cleans up for two seconds when cancelled.
std::vector<task<void>> slow_to_end(int count) {
  std::vector<task<void>> tasks;
  for (int i = 0; i < count; ++i) {
    tasks.push_back(spawn([] {
      try {
        sleep_for(99s);
      } catch (fibers::cancelled_error const&) {
        sleep_for(2s);
        throw;
      }
    }));
  }
  return tasks;
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "cancel_and_wait: of a range cancels all before it waits for the first") {
  run([&] {
    auto const tasks = slow_to_end(5);
    this_task::yield();
    fibers::cancel_and_wait(tasks);
    std::string states;
    for (auto const& each : tasks) states += each.cancelled() && each.cancelling() == 1 ? "c" : "-";
    seen(states);
    std::vector<task_handle<>> handles;
    for (auto const& each : tasks) handles.insert(handles.end(), 2, each.handle());
    fibers::cancel_and_wait(handles);
    fibers::cancel_and_wait(std::vector<task<>>());
    seen("again");
  });
  CHECK(seen == "ccccc@2, again@2");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel_and_wait: of a range throws nothing of the tasks', but the caller's own cancellation") {
  run([&] {
    std::vector<task<void>> tasks = slow_to_end(1);
    tasks.push_back(sleeper("fails", 0s, "fails"));
    tasks.push_back(sleeper("returns", 0s));
    auto const caller = spawn([&] {
      sleep_for(1s);
      seen(how([&] { fibers::cancel_and_wait(tasks); }));
    });
    sleep_for(2s);
    caller.cancel("me");
    caller.wait();
    seen(tasks[0].done() ? "has ended" : "cleans up");
    tasks[0].wait();
  });
  CHECK(seen == "cancelled: me@2, cleans up@2");
  CHECK(unfetched.empty());
}

TEST_CASE_METHOD(virtual_time,
                 "cancel_and_wait: a caller that was cancelled before cancels all of a range, and does not wait") {
  run([&] {
    auto const tasks = slow_to_end(2);
    auto const caller = spawn([&] {
      this_task::cancel("me");
      seen(how([&] { fibers::cancel_and_wait(tasks); }));
    });
    caller.wait();
    seen(std::to_string(tasks[0].cancelling() + tasks[1].cancelling()) + " asked");
  });
  CHECK(seen == "cancelled: me@0, 2 asked@0");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel_and_wait: of a range with the caller itself or an empty handle cancels no task") {
  run([&] {
    auto const tasks = slow_to_end(1);
    seen(how([&] {
           fibers::cancel_and_wait(std::vector<task_handle<>>{tasks[0].handle(), this_task::handle()});
         }).substr(0, 38));
    seen(how([&] { fibers::cancel_and_wait(std::vector<task_handle<>>{tasks[0].handle(), {}}); }).substr(0, 36));
    seen(std::to_string(tasks[0].cancelling() + this_task::cancelling()) + " asked");
  });
  CHECK(seen == "failed: fibers: task 'main' would wait@0, failed: fibers: this task or handle @0, 0 asked@0");
}

TEST_CASE_METHOD(virtual_time, "cancel_and_wait: of a range whose tasks wait for each other asks each of them once") {
  run([&] {
    std::vector<task_handle<>> chain{spawn([] { sleep_for(9s); }).detach()};
    for (int i = 0; i < 3; ++i) chain.push_back(spawn([next = chain.back()] { next.get(); }).detach());
    this_task::yield();
    fibers::cancel_and_wait(chain);
    std::string asked;
    for (auto const& each : chain) asked += std::to_string(each.cancelling());
    seen(asked);
  });
  CHECK(seen == "1111@0");
}
