// SPDX-License-Identifier: BSL-1.0
#include "../../fibers/detail/engine/scheduler.hpp"

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <ctime>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "child.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::clock_kind;
using fibers::testing::in_child;

namespace {

using texts = std::vector<std::string>;

template <class F>
void run_virtual(F main) {
  fibers::run({.clock = clock_kind::virtual_time}, std::move(main));
}

std::chrono::nanoseconds cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Returns where the caller's frame is. (The address of a local variable is not sufficient: a sanitizer may keep locals
// elsewhere.)
[[gnu::always_inline]] inline std::uintptr_t stack_address() {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

[[gnu::noinline]] int recurse(int depth) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? frame[0] : recurse(depth - 1) + frame[0];
}

}  // namespace

TEST_CASE("scheduler: tasks begin in the order of their spawning, after the spawning task has suspended", "[TASK-01]") {
  texts log;
  run_virtual([&] {
    auto a = fibers::spawn([&] { log.push_back("a"); });
    auto b = fibers::spawn([&] { log.push_back("b"); });
    log.push_back("main");
    a.wait();
    b.wait();
  });
  CHECK(log == texts{"main", "a", "b"});
}

TEST_CASE("scheduler: tasks that yield run in turn, over many turns of the loop") {
  std::string log;
  run_virtual([&] {
    std::vector<fibers::task<void>> tasks;
    for (char const name : {'a', 'b', 'c'}) {
      tasks.push_back(fibers::spawn([&log, name] {
        for (int i = 0; i < 200; ++i) {
          log += name;
          fibers::this_task::yield();
        }
      }));
    }
    for (auto& task : tasks) task.wait();
  });
  std::string expected;
  for (int i = 0; i < 200; ++i) expected += "abc";
  CHECK(log == expected);
}

TEST_CASE("scheduler: timers, threads and callbacks have their turn though tasks never stop yielding") {
  bool slept = false, called = false;
  std::atomic<bool> woken = false;
  fibers::run([&] {
    auto busy = fibers::spawn([&] {
      while (!slept || !woken || !called) fibers::this_task::yield();
    });
    auto sleeper = fibers::spawn([&] {
      fibers::sleep_for(1ms);
      slept = true;
    });
    sleeper.on_done([&] { called = true; });
    auto waits = fibers::spawn([&] {
      try {
        fibers::sleep_for(fibers::no_timeout);
      } catch (fibers::cancelled_error const&) {
        woken = true;
      }
    });
    fibers::this_task::yield();
    std::thread other([handle = waits.handle()] { handle.cancel(); });
    busy.get();
    other.join();
  });
  CHECK(slept);
  CHECK(called);
  CHECK(woken);
}

TEST_CASE("scheduler: sleeps with one deadline end in the order in which they began") {
  std::vector<int> log;
  run_virtual([&] {
    std::vector<fibers::task<void>> tasks;
    auto const when = fibers::clock::now() + 1s;
    for (int i = 0; i < 100; ++i) {
      tasks.push_back(fibers::spawn([&log, i, when] {
        fibers::sleep_until(when);
        log.push_back(i);
      }));
    }
    for (auto& task : tasks) task.wait();
  });
  std::vector<int> expected;
  for (int i = 0; i < 100; ++i) expected.push_back(i);
  CHECK(log == expected);
}

TEST_CASE("scheduler: tasks that run one after the other share a stack, the one used last") {
  std::set<std::uintptr_t> pages;
  run_virtual([&] {
    for (int i = 0; i < 1000; ++i) {
      fibers::spawn([&] { pages.insert(stack_address() / 4096); }).get();
    }
  });
  CHECK(pages.size() == 1);
}

TEST_CASE("scheduler: a task that never begins takes no stack") {
  auto const use = [](bool cancel) {
    std::set<std::uintptr_t> stacks;
    run_virtual([&] {
      std::vector<fibers::task<void>> tasks;
      for (int i = 0; i < 100; ++i) {
        tasks.push_back(fibers::spawn([&] {
          stacks.insert(stack_address() / (64 * 1024));
          fibers::sleep_for(1s);
        }));
        if (cancel) tasks.back().cancel();
      }
      for (auto& task : tasks) task.wait();
    });
    return stacks.size();
  };
  CHECK(use(true) == 0);
  CHECK(use(false) == 100);
}

TEST_CASE("scheduler: an idle loop uses no processor time") {
  std::chrono::nanoseconds used{}, passed{};
  fibers::run([&] {
    std::vector<fibers::task<void>> tasks;  // these leave idle stacks behind, which are trimmed meanwhile
    for (int i = 0; i < 100; ++i) tasks.push_back(fibers::spawn([] { fibers::this_task::yield(); }));
    for (auto& task : tasks) task.wait();
    fibers::sleep_for(1ms);
    auto const cpu = cpu_time();
    auto const start = std::chrono::steady_clock::now();
    fibers::sleep_for(200ms);
    used = cpu_time() - cpu;
    passed = std::chrono::steady_clock::now() - start;
  });
  CHECK(passed >= 200ms);
  CHECK(used < passed / 10);
}

TEST_CASE("scheduler: a stack overflow names the task, and the program aborts") {
  auto const end = in_child([] {
    run_virtual([] {
      auto task = fibers::spawn("parse", [] { return recurse(1'000'000); });
      task.get();
    });
  });
  CHECK(end.by(SIGABRT));
  CHECK_THAT(end.text, ContainsSubstring("fibers: task 'parse' (spawned at ") && ContainsSubstring("scheduler.cpp:") &&
                           ContainsSubstring("overflowed its 256 KiB stack"));
}

TEST_CASE("scheduler: stack overflows of main and of a task without a name are distinguished") {
  auto const of_main = in_child([] { run_virtual([] { return static_cast<void>(recurse(1'000'000)); }); });
  CHECK_THAT(of_main.text, ContainsSubstring("task 'main'"));
  auto const of_task = in_child([] {
    run_virtual([] {
      auto task = fibers::spawn([] { return recurse(1'000'000); });
      task.get();
    });
  });
  CHECK_THAT(of_task.text, ContainsSubstring("task 'task-"));
}

TEST_CASE("scheduler: three loops on three threads run concurrently, each with its own tasks and time") {
  constexpr int loops = 3, tasks = 50;
  std::vector<int> ended(loops);
  std::vector<fibers::duration> passed(loops);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < loops; ++i) {
    threads.emplace_back([&, i] {
      run_virtual([&, i] {
        auto const start = fibers::clock::now();
        std::vector<fibers::task<void>> children;
        for (int t = 0; t < tasks; ++t) {
          children.push_back(fibers::spawn([&, i, t] {
            for (int n = 0; n < 20; ++n) fibers::this_task::yield();
            fibers::sleep_for((t + 1) * 1ms * static_cast<int>(i + 1));
            ++ended[i];
          }));
        }
        for (auto& child : children) child.get();
        passed[i] = fibers::clock::now() - start;
      });
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(ended == std::vector{tasks, tasks, tasks});
  CHECK(passed == std::vector<fibers::duration>{50ms, 100ms, 150ms});
}

TEST_CASE("scheduler: a task begins with its spawner's rounding mode, on a new stack and on a used one") {
  std::vector<int> seen;
  std::vector<double> thirds;
  std::fesetround(FE_DOWNWARD);
  run_virtual([&] {
    auto const record = [&] {
      double const volatile one = 1, three = 3;  // divided by the SSE unit; fegetround() reads the x87 control word
      seen.push_back(std::fegetround());
      thirds.push_back(one / three);
    };
    record();
    auto const upward = [&] {
      std::fesetround(FE_UPWARD);
      record();
      fibers::spawn(record).get();
    };
    fibers::spawn(upward).get();  // ends with another mode than it began with
    fibers::spawn(record).get();
    record();
  });
  std::fesetround(FE_TONEAREST);
  CHECK(seen == std::vector{FE_DOWNWARD, FE_UPWARD, FE_UPWARD, FE_DOWNWARD, FE_DOWNWARD});
  CHECK(thirds[0] < thirds[1]);
  CHECK(thirds == std::vector{thirds[0], thirds[1], thirds[1], thirds[0], thirds[0]});
}

TEST_CASE("scheduler: a task spawned in one rounding mode begins in it, though the mode changes meanwhile") {
  int seen = -1;
  run_virtual([&] {
    std::fesetround(FE_TOWARDZERO);
    auto task = fibers::spawn([&] { seen = std::fegetround(); });
    std::fesetround(FE_TONEAREST);
    task.get();
  });
  CHECK(seen == FE_TOWARDZERO);
}
