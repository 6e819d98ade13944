// SPDX-License-Identifier: BSL-1.0

#include <fibers/task_local.hpp>
#include <fibers/this_task.hpp>
#include <new>
#include <stdexcept>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::spawn;
using fibers::task_local;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(virtual_time, "task_local: a child starts with its spawner's values, and then each has its own",
                 "[FLS-01]") {
  task_local<int> variable(1);
  run([&] {
    auto const child = spawn([&] {
      seen("child " + std::to_string(*variable));
      this_task::yield();
      seen("child " + std::to_string(*variable));
      variable.set(3);
      seen("child " + std::to_string(*variable));
    });
    variable.set(2);  // after spawn(): the child does not see it
    this_task::yield();
    seen("main " + std::to_string(*variable));
    child.wait();
    seen("main " + std::to_string(*variable));
    spawn([&] { seen("child " + std::to_string(*variable)); }).wait();
  });
  CHECK(seen == "child 1@0, main 2@0, child 1@0, child 3@0, main 2@0, child 2@0");
}

TEST_CASE_METHOD(virtual_time, "task_local: values are inherited through generations") {
  task_local<std::string> variable;
  run([&] {
    variable.set("given");
    spawn([&] { spawn([&] { seen(*variable + ", " + std::to_string(variable->size())); }).wait(); }).wait();
  });
  CHECK(seen == "given, 5@0");
}

TEST_CASE_METHOD(virtual_time, "task_local: many tasks that interleave keep their own values", "[FLS-03]") {
  task_local<int> first;
  task_local<int> second;
  int right = 0;
  run([&] {
    std::vector<fibers::task<void>> tasks;
    for (int number = 0; number != 100; ++number) {
      tasks.push_back(spawn([&, number] {
        first.set(number);
        for (int i = 0; i != 10; ++i) {
          second.set(number + i);
          i % 2 == 0 ? this_task::yield() : fibers::sleep_for(1ms * (number % 7));
          right += *first == number && *second == number + i ? 1 : 0;
        }
      }));
    }
    for (auto const& task : tasks) task.wait();
  });
  CHECK(right == 1000);
}

TEST_CASE_METHOD(virtual_time, "task_local: with() restores the old value, however the body ends") {
  task_local<int> variable(1);
  run([&] {
    seen(std::to_string(variable.with(2, [&] {
      this_task::yield();
      return 10 * *variable;
    })));
    seen(std::to_string(*variable));
    variable.set(3);
    seen(how([&] { variable.with(4, [] { throw std::runtime_error("no"); }); }));
    seen(std::to_string(*variable));
    auto child = spawn([&] { variable.with(5, [] { fibers::sleep_for(9s); }); });
    this_task::yield();
    child.cancel();
    seen(how([&] { child.get(); }) + " " + std::to_string(*variable));
  });
  CHECK(seen == "20@0, 1@0, failed: no@0, 3@0, cancelled 3@0");
}

TEST_CASE_METHOD(virtual_time, "task_local: with() may return a reference") {
  task_local<int> variable;
  int number = 1;
  run([&] { variable.with(2, [&]() -> int& { return number; }) = 5; });
  CHECK(number == 5);
}

TEST_CASE_METHOD(virtual_time, "task_local: values are destroyed when no task has them any more") {
  task_local<counted> variable;  // the initial value is one instance
  run([&] {
    variable.set({});
    auto const heir = spawn([] {});
    heir.wait();
    seen(std::to_string(counted::alive));
    variable.set({});
    seen(std::to_string(counted::alive));
  });
  CHECK(seen == "2@0, 3@0");
  CHECK(counted::alive == 1);
}

TEST_CASE_METHOD(virtual_time, "task_local: a value whose destructor reads the variable sees the new one") {
  static task_local<std::shared_ptr<void>> variable;
  static task_local<int> other(7);
  run([&] {
    variable.set(std::shared_ptr<void>(&seen, [this](void*) { seen(variable.get() == nullptr ? "new" : "old"); }));
    variable.set(nullptr);
  });
  CHECK(seen == "new@0");
}

TEST_CASE_METHOD(virtual_time, "task_local: a variable does not find the value of a destroyed one at its address") {
  alignas(task_local<std::string>) alignas(task_local<int>) std::byte place[256];
  static_assert(sizeof place >= sizeof(task_local<std::string>) && sizeof place >= sizeof(task_local<int>));
  run([&] {
    auto* const first = new (place) task_local<int>;
    first->set(5);
    std::destroy_at(first);
    auto* const second = new (place) task_local<std::string>("initial");
    seen(**second);
    std::destroy_at(second);
  });
  CHECK(seen == "initial@0");
}

TEST_CASE("task_local: needs a running task, and says so", "[FLS-02]") {
  task_local<int> variable;
  auto const needs_a_task = ContainsSubstring("this needs a running task");
  CHECK_THROWS_WITH(variable.get(), needs_a_task);
  CHECK_THROWS_WITH(variable.set(1), needs_a_task);
  CHECK_THROWS_WITH(variable.with(1, [] {}), needs_a_task);
}

TEST_CASE_METHOD(virtual_time, "task_local: a callback runs between tasks, so it captures what it needs", "[FLS-02]") {
  task_local<int> variable(1);
  run([&] {
    auto const child = spawn([&] { variable.set(2); });
    child.on_done([&, captured = *variable] {
      seen(std::to_string(captured));
      seen(how([&] { return *variable; }).substr(0, 41));
    });
    fibers::sleep_for(1s);
  });
  CHECK(seen == "1@0, failed: fibers: this needs a running task@0");
}

TEST_CASE_METHOD(virtual_time, "task_local: each run() begins with the initial values", "[FLS-06]") {
  task_local<int> variable(1);
  for (int i = 0; i != 2; ++i) {
    run([&] {
      seen(std::to_string(*variable));
      variable.set(2);
    });
  }
  CHECK(seen == "1@0, 1@0");
}
