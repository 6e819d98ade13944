// SPDX-License-Identifier: BSL-1.0

// Every scope and every way to wait for tasks, swept.

#include <fibers/fibers.hpp>
#include <optional>
#include <stdexcept>
#include <vector>

#include "catch.hpp"
#include "sweeps.hpp"

using namespace std::chrono_literals;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_group;
using fibers::with_task_group;
using fibers::testing::stands_anything;

TEST_CASE("timeout: swept, inner and outer limits are independent") {
  stands_anything({.has_choices = false}, [] {
    fibers::with_timeout(10s, [] {
      auto const cut = fibers::move_on_after(1s, [] { sleep_for(5s); });
      if (cut) throw std::logic_error("the inner limit did not pass");
      sleep_for(1s);
    });
    try {
      fibers::with_timeout(1s, [] { fibers::with_timeout(10s, [] { sleep_for(5s); }); });
      throw std::logic_error("the outer limit did not pass");
    } catch (fibers::timeout_error const&) {
    }
  });
}

TEST_CASE("wait_for: swept, a task that is late is cancelled and has ended") {
  stands_anything({.has_choices = false}, [] {
    auto late = spawn([] { sleep_for(9s); });
    try {
      fibers::wait_for(late, 1s);
    } catch (fibers::timeout_error const&) {
      if (!late.cancelled()) throw std::logic_error("it goes on");
    }
  });
}

TEST_CASE("shield: swept, its body is completed") {
  stands_anything({.has_choices = false}, [] {
    int begun = 0, ended = 0;
    auto const check = fibers::cleanup_guard([&] {
      if (begun != ended) throw std::logic_error("it was cut short");
    });
    fibers::with_shield([&] {
      ++begun;
      sleep_for(1s);
      fibers::this_task::yield();
      ++ended;
    });
    auto saved = spawn([] { sleep_for(2s); });
    fibers::shield(saved);
  });
}

TEST_CASE("cleanup_guard: swept, it runs once, whether or not it is interrupted") {
  stands_anything({.allocates = false, .has_choices = false}, [] {
    int cleaned_up = 0;
    try {
      fibers::cleanup_guard const guard([&] {
        sleep_for(1s);
        ++cleaned_up;
      });
      sleep_for(1s);
    } catch (fibers::cancelled_error const&) {
      if (cleaned_up != 1) throw std::logic_error("it did not run once");
      throw;
    }
  });
}

TEST_CASE("task_group: swept, it waits for each child, also for those that children spawn") {
  stands_anything([] {
    int alive = 0;
    auto const nobody = fibers::cleanup_guard([&] {
      if (alive != 0) throw std::logic_error("a child is left");
    });
    auto const live = [&alive](auto body) {
      return [&alive, body] {
        ++alive;
        fibers::cleanup_guard const gone([&alive] { --alive; });
        body();
      };
    };
    with_task_group([&](task_group& group) {
      group.spawn(live([&] {
        sleep_for(1s);
        group.spawn(live([] { sleep_for(1s); }));
      }));
      group.spawn(live([] { fibers::this_task::yield(); }));
      sleep_for(500ms);
    });
  });
}

TEST_CASE("task_group: swept, a group that is stopped, or whose child fails, ends its children") {
  stands_anything([] {
    with_task_group([](task_group& group) {
      group.spawn([] { sleep_for(1h); });
      sleep_for(1s);
      group.stop();
    });
    try {
      with_task_group([](task_group& group) {
        group.spawn([] { sleep_for(1h); });
        group.spawn([] {
          sleep_for(1s);
          throw std::range_error("planned");
        });
      });
      throw std::logic_error("the error is lost");
    } catch (fibers::exception_group const& group) {
      if (group.contains<std::bad_alloc>()) throw;
      if (!group.contains<std::range_error>()) throw std::logic_error("another error");
    }
  });
}

TEST_CASE("gather: swept, all results are returned, or none of the calls continues") {
  stands_anything([] {
    auto const [one, two] = fibers::gather(
        [] {
          sleep_for(1s);
          return 1;
        },
        [] {
          sleep_for(2s);
          return 2;
        });
    if (one + two != 3) throw std::logic_error("wrong results");
    std::vector<fibers::task<int>> tasks;
    for (int i = 0; i < 2; ++i) {
      tasks.push_back(spawn([i] {
        sleep_for(1s);
        return i;
      }));
    }
    fibers::gather(tasks);
  });
}

TEST_CASE("wait and as_completed: swept, the tasks are not affected") {
  stands_anything([] {
    std::vector<fibers::task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(spawn([i] { sleep_for(i * 1s); }));
    fibers::wait(tasks, fibers::return_when::first_completed);
    std::size_t count = 0;
    for (auto const& task : fibers::as_completed(tasks)) count += task.cancelled() ? 0 : 1;
    if (count != 3) throw std::logic_error("a task was cancelled");
  });
}

TEST_CASE("race: swept, one wins and the others have ended") {
  stands_anything([] {
    auto const winner = fibers::race(
        [] {
          sleep_for(1s);
          return 1;
        },
        [] {
          sleep_for(2s);
          return 2;
        });
    if (winner != 1) throw std::logic_error("the slower one has won");
  });
}

TEST_CASE("for_each_concurrent: swept, each element is taken once, and no call continues") {
  stands_anything([] {
    int taken = 0, running = 0;
    auto const nobody = fibers::cleanup_guard([&] {
      if (running != 0) throw std::logic_error("a call goes on");
    });
    std::vector<int> const elements{1, 2, 3, 4};
    fibers::for_each_concurrent(elements, 2, [&](int) {
      ++taken;
      ++running;
      fibers::cleanup_guard const out([&] { --running; });
      sleep_for(1s);
    });
    if (taken != 4) throw std::logic_error("an element is lost");
  });
}

TEST_CASE("task: swept, owners, handles and callbacks leave nothing behind") {
  stands_anything([] {
    int called = 0;
    auto worker = spawn("worker", [] { sleep_for(2s); });
    worker.on_done([&called] { ++called; });
    auto watcher = spawn([handle = worker.handle()] { handle.wait(); });
    sleep_for(1s);
    worker.cancel_and_wait();
    watcher.get();
  });
}

TEST_CASE("task_local: swept, values are restored") {
  static fibers::task_local<int> depth;
  stands_anything({.has_choices = false}, [] {
    depth.set(1);
    auto const back = fibers::cleanup_guard([] {
      if (depth.get() != 1) throw std::logic_error("the value did not come back");
    });
    depth.with(2, [] {
      sleep_for(1s);
      spawn([] {
        if (depth.get() != 2) throw std::logic_error("it was not inherited");
        sleep_for(1s);
      }).get();
    });
  });
}
