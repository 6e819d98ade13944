// SPDX-License-Identifier: BSL-1.0

// gather() of tasks and handles follows asyncio: the tasks continue whatever happens to the call.

#include <fibers/gather.hpp>
#include <fibers/this_task.hpp>
#include <list>
#include <memory>
#include <vector>

#include "callables.hpp"
#include "catch.hpp"
#include "one_pass.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::gather;
using fibers::outcome;
using fibers::return_exceptions;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task;
using fibers::task_handle;
using fibers::testing::how;
using fibers::testing::one_pass;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

task<int> sleeper(int seconds) { return spawn(fibers::testing::sleeper(seconds)); }

task<int> failing(int seconds, char const* text = "no") { return spawn(fibers::testing::failing(seconds, text)); }

template <class T>
std::string text(outcome<T> const& result) {
  return how([&] { return result.value(); });
}

std::string text(std::vector<int> const& numbers) {
  std::string all;
  for (int const each : numbers) all += std::to_string(each);
  return all;
}

std::string text(std::vector<outcome<int>> const& outcomes) {
  std::string all;
  for (auto const& each : outcomes) all += (all.empty() ? "" : "; ") + text(each);
  return all;
}

}  // namespace

// --- results ---

TEST_CASE_METHOD(virtual_time, "gather: results are in the order of the arguments", "[GA-01]") {
  run([&] {
    std::vector<task<int>> tasks;
    for (int const each : {2, 3, 1}) tasks.push_back(sleeper(each));
    seen(text(gather(tasks)));
    seen(text(gather(return_exceptions, tasks)));
    auto const [one, two] = gather(sleeper(2), sleeper(1));
    seen(std::to_string(one) + std::to_string(two));
  });
  CHECK(seen == "231@3, returned 2; returned 3; returned 1@3, 21@5");
}

TEST_CASE_METHOD(virtual_time, "gather: tasks may differ in their result types, or have no result") {
  run([&] {
    int target = 0;
    auto const reference = spawn([&]() -> int& { return target; });
    auto const results =
        gather(spawn([] { return 5; }), spawn([] {}), spawn([] { return std::string("five"); }), reference,
               spawn([] { return std::make_unique<int>(7); }), task_handle<>(reference.handle()));
    static_assert(
        std::is_same_v<decltype(results), std::tuple<int, std::monostate, std::string, std::reference_wrapper<int>,
                                                     std::unique_ptr<int>, std::monostate> const>);
    std::get<3>(results).get() = 9;
    seen(std::to_string(std::get<0>(results) + *std::get<4>(results) + target) + std::get<2>(results));
  });
  CHECK(seen == "21five@0");
}

TEST_CASE_METHOD(virtual_time, "gather: outcomes of tasks may differ in type, or have no value", "[GA-04]") {
  run([&] {
    auto const results = gather(return_exceptions, spawn([] { return 5; }), spawn([] {}), failing(1),
                                spawn([] { return std::make_unique<int>(7); }));
    static_assert(std::is_same_v<std::remove_cvref_t<decltype(std::get<1>(results))>, outcome<void>>);
    seen(text(std::get<0>(results)));
    seen(how([&] { std::get<1>(results).value(); }));
    seen(text(std::get<2>(results)));
    seen(how([&] { return *std::get<3>(results).value(); }));
  });
  CHECK(seen == "returned 5@1, returned@1, failed: no@1, returned 7@1");
}

TEST_CASE_METHOD(virtual_time, "gather: of nothing returns nothing, at once", "[GA-07]") {
  run([&] {
    static_assert(std::is_same_v<decltype(gather()), std::tuple<>>);
    static_assert(std::is_same_v<decltype(gather(return_exceptions)), std::tuple<>>);
    gather();
    gather(return_exceptions);
    seen(std::to_string(gather(std::vector<task<int>>()).size()));
    seen(std::to_string(gather(return_exceptions, std::vector<task_handle<>>()).size()));
  });
  CHECK(seen == "0@0, 0@0");
}

TEST_CASE_METHOD(virtual_time, "gather: a task given several times is at each of its positions", "[GA-10]") {
  run([&] {
    auto const one = sleeper(1), two = sleeper(2);
    seen(text(gather(std::vector{one.handle(), two.handle(), one.handle()})));
    seen(text(gather(return_exceptions, std::vector{two.handle(), one.handle(), two.handle()})));
    auto const [first, second] = gather(one, one);
    seen(std::to_string(first + second));
  });
  CHECK(seen == "121@2, returned 2; returned 1; returned 2@2, 2@2");
}

TEST_CASE_METHOD(virtual_time, "gather: if all tasks are done on entry it is complete at once", "[GA-20]") {
  run([&] {
    std::vector<task<int>> tasks;
    for (int const each : {1, 2}) tasks.push_back(sleeper(each));
    fibers::wait(tasks);
    auto const other = spawn([&] { seen("other"); });
    seen(text(gather(tasks)));
    other.wait();
  });
  CHECK(seen == "12@2, other@2");
}

TEST_CASE_METHOD(virtual_time, "gather: takes any range of tasks or handles, also a single-pass one") {
  run([&] {
    std::list<task<int>> tasks;
    for (int const each : {2, 1}) tasks.push_back(sleeper(each));
    std::list<task_handle<>> erased;
    for (auto const& each : tasks) erased.push_back(each.handle());
    seen(std::to_string(gather(erased).size()));
    seen(text(gather(one_pass(4, sleeper))));
  });
  CHECK(seen == "2@2, 0123@5");
}

TEST_CASE_METHOD(virtual_time, "gather: a move-only result is moved out, once") {
  run([&] {
    std::vector<task<std::unique_ptr<int>>> tasks;
    tasks.push_back(spawn([] { return std::make_unique<int>(5); }));
    seen(std::to_string(*gather(tasks)[0]));
    seen(how([&] { gather(tasks); }).substr(0, 50));
  });
  CHECK(seen == "5@0, failed: fibers: the result of this task was moved @0");
}

TEST_CASE_METHOD(virtual_time, "gather: an unusable argument leaves the other tasks alone", "[GA-13]") {
  run([&] {
    auto const one = sleeper(1);
    seen(how([&] { gather(one, task_handle<int>()); }).substr(0, 44));
    seen(how([&] { gather(one.handle(), this_task::handle()); }).substr(0, 44));
    seen(how([&] { return one.handle().get(); }));
  });
  CHECK(seen ==
        "failed: fibers: this task or handle is empty@0, failed: fibers: task 'main' would wait for i@0, returned 1@1");
}

// --- errors ---

TEST_CASE_METHOD(virtual_time, "gather: the first error is thrown at once, and the others continue",
                 "[GA-02][GA-03][TRAP-08]") {
  run([&] {
    auto const good = sleeper(3), bad = failing(1), worse = failing(2, "ignored");
    seen(how([&] { gather(good, bad, worse); }));
    seen(std::to_string(good.cancelling()) + std::to_string(good.done()));
    seen(how([&] { return good.handle().get(); }));
    seen(how([&] { worse.wait(); }));
    worse.cancel();  // a cancel suppresses the report
  });
  CHECK(seen == "failed: no@1, 00@1, returned 3@3, returned@3");
}

TEST_CASE_METHOD(virtual_time, "gather: temporary tasks end with the statement, in which they are cancelled",
                 "[GA-03][TRAP-08]") {
  run([&] { seen(how([&] { gather(failing(1), spawn([&] { seen(how([] { sleep_for(9s); })); })); })); });
  CHECK(seen == "cancelled@1, failed: no@1");
}

TEST_CASE_METHOD(virtual_time, "gather: of several tasks that have failed before, the first in the list counts",
                 "[GA-02]") {
  run([&] {
    std::vector<task<int>> tasks;
    tasks.push_back(sleeper(9));
    tasks.push_back(failing(2, "listed first"));
    tasks.push_back(failing(1, "failed first"));
    sleep_for(3s);
    seen(how([&] { gather(tasks); }));
    tasks[2].cancel();
  });
  CHECK(seen == "failed: listed first@3");
}

TEST_CASE_METHOD(virtual_time, "gather: with errors as results, it waits for all", "[GA-04]") {
  run([&] {
    std::vector<task<int>> tasks;
    tasks.push_back(sleeper(2));
    tasks.push_back(failing(1));
    tasks.push_back(sleeper(3));
    seen(text(gather(return_exceptions, tasks)));
  });
  CHECK(seen == "returned 2; failed: no; returned 3@3");
}

TEST_CASE_METHOD(virtual_time,
                 "gather: a cancelled task ends it, and the caller knows that it was not cancelled itself",
                 "[GA-05][TASK-39]") {
  run([&] {
    auto const one = sleeper(9), two = sleeper(2);
    auto const canceller = spawn([&] {
      sleep_for(1s);
      one.cancel("one");
    });
    seen(how([&] { gather(one, two); }));
    seen(std::to_string(this_task::cancelling()) + std::to_string(two.cancelling()));
    seen(how([&] { return two.handle().get(); }));
  });
  CHECK(seen == "cancelled: one@1, 00@1, returned 2@2");
}

TEST_CASE_METHOD(virtual_time, "gather: a cancelled task is a result, and the rest is waited for", "[GA-06]") {
  run([&] {
    std::vector<task<int>> tasks;
    tasks.push_back(sleeper(9));
    tasks.push_back(sleeper(2));
    auto const canceller = spawn([&] {
      sleep_for(1s);
      tasks[0].cancel("one");
    });
    seen(text(gather(return_exceptions, tasks)));
  });
  CHECK(seen == "cancelled: one; returned 2@2");
}

TEST_CASE_METHOD(virtual_time, "gather: an error after gather has returned can be fetched, otherwise it is reported",
                 "[GA-12]") {
  run([&] {
    auto const one = failing(1);
    {
      auto const two = failing(2, "later"), three = failing(2, "fetched");
      seen(how([&] { gather(one, two, three); }));
      two.wait();
      seen(how([&] { three.handle().get(); }));
    }
  });
  CHECK(seen == "failed: no@1, failed: fetched@2");
  REQUIRE(unfetched.size() == 1);
  CHECK_THAT(unfetched[0], Catch::Matchers::ContainsSubstring("failed: later"));
  unfetched.clear();
}
