// SPDX-License-Identifier: BSL-1.0

// A group without failures: it waits for its children, whichever task spawned them and when; what it returns; which
// tasks may still spawn.

#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <functional>
#include <memory>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_group;
using fibers::task_handle;
using fibers::with_task_group;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::sanitized;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

// --- the end ---

TEST_CASE_METHOD(virtual_time, "task group: its end waits for every child, whose results are there then", "[TG-01]") {
  run([&] {
    task_handle<int> one;
    task_handle<std::string> two;
    with_task_group([&](task_group& group) {
      one = group.spawn([] {
        sleep_for(1s);
        return 42;
      });
      two = group.spawn([] {
        sleep_for(2s);
        return std::string("two");
      });
      seen("body ends");
    });
    seen(how([&] { return one.done() && two.done(); }));
    seen(how([&] { return one.get(); }));
    seen(how([&] { return two.get(); }));
  });
  CHECK(seen == "body ends@0, returned 1@2, returned 42@2, returned two@2");
}

TEST_CASE_METHOD(virtual_time, "task group: the body may wait between spawns", "[TG-02]") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&] {
        sleep_for(1s);
        seen("first");
      });
      sleep_for(3s);
      seen("body");
      group.spawn([&] {
        sleep_for(1s);
        seen("second");
      });
    });
    seen("after");
  });
  CHECK(seen == "first@1, body@3, second@4, after@4");
}

TEST_CASE_METHOD(virtual_time, "task group: a cancelled child is no error, and does not affect the others", "[TG-03]") {
  run([&] {
    task_handle<> victim;
    with_task_group([&](task_group& group) {
      victim = group.spawn([] { sleep_for(9s); });
      group.spawn([&] {
        sleep_for(2s);
        seen("sibling");
      });
      sleep_for(1s);
      victim.cancel();
      sleep_for(2s);
      seen("body");
    });
    seen(how([&] { return victim.cancelled(); }));
    seen(how([] { return this_task::cancelling(); }));
  });
  CHECK(seen == "sibling@2, body@3, returned 1@3, returned 0@3");
}

TEST_CASE_METHOD(virtual_time, "task group: a child that throws cancelled_error itself is no error",
                 "[TG-03][TASK-40]") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([] { throw fibers::cancelled_error("enough"); });
      sleep_for(1s);
    });
    seen("after");
  });
  CHECK(seen == "after@1");
}

TEST_CASE_METHOD(virtual_time, "task group: without children it does not wait", "[TG-17]") {
  run([&] {
    seen(how([] { with_task_group([](task_group&) {}); }));
    seen(how([] { return with_task_group([](task_group&) { return 5; }); }));
  });
  CHECK(seen == "returned@0, returned 5@0");
}

TEST_CASE_METHOD(virtual_time, "task group: children that have ended are forgotten while it is open", "[TG-24]") {
  run([&] {
    with_task_group([&](task_group& group) {
      for (int i = 0; i < 100; ++i) {
        group.spawn([object = counted()] { this_task::yield(); });
        seen(std::to_string(group.size()) + "/" + std::to_string(counted::alive));
        this_task::yield();
        this_task::yield();
        if (group.size() != 0 || counted::alive != 0) seen("piles up");
        if (i > 0 && !seen.contains("1/1")) seen("was not there");
      }
    });
  });
  CHECK_FALSE(seen.contains("piles up"));
  CHECK_FALSE(seen.contains("was not there"));
}

TEST_CASE_METHOD(virtual_time, "task group: size() counts children that have not ended, begun or not") {
  run([&] {
    with_task_group([&](task_group& group) {
      for (auto const length : {1s, 2s, 3s}) group.spawn([length] { sleep_for(length); });
      for (int i = 0; i < 4; ++i) {
        seen(std::to_string(group.size()));
        if (i < 3) sleep_for(1s);
        this_task::yield();
      }
    });
  });
  CHECK(seen == "3@0, 2@1, 1@2, 0@3");
}

// --- results ---

TEST_CASE_METHOD(virtual_time, "task group: returns what its body returns, also move-only results and references") {
  run([&] {
    auto const pointer = with_task_group([](task_group& group) {
      group.spawn([] { sleep_for(1s); });
      return std::make_unique<int>(5);
    });
    seen(how([&] { return *pointer; }));
    int target = 0;
    int& reference = with_task_group([&](task_group&) -> int& { return target; });
    reference = 7;
    seen(how([&] { return target; }));
  });
  CHECK(seen == "returned 5@1, returned 7@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a child's result may be void, a reference, or move-only") {
  run([&] {
    int target = 0;
    task_handle<void> nothing;
    task_handle<int&> reference;
    task_handle<std::unique_ptr<int>> pointer;
    with_task_group([&](task_group& group) {
      nothing = group.spawn([] {});
      reference = group.spawn([&]() -> int& { return target; });
      pointer = group.spawn([] { return std::make_unique<int>(5); });
    });
    nothing.get();
    reference.get() = 7;
    seen(how([&] { return target + *pointer.get(); }));
  });
  CHECK(seen == "returned 12@0");
}

TEST_CASE_METHOD(virtual_time, "task group: the result of the body lives until the children have ended") {
  run([&] {
    auto const kept = with_task_group([&](task_group& group) {
      group.spawn([&] {
        sleep_for(1s);
        seen(std::to_string(counted::alive));
      });
      return counted();
    });
  });
  CHECK(seen == "1@1");
}

// --- spawning ---

TEST_CASE_METHOD(virtual_time, "task group: a name given to spawn is the child's from its first step", "[TG-27]") {
  run([&] {
    with_task_group([&](task_group& group) {
      auto const child = group.spawn("fetch", [&] { seen(this_task::name()); });
      seen(child.name());
    });
  });
  CHECK(seen == "fetch@0, fetch@0");
}

TEST_CASE_METHOD(virtual_time, "task group: children spawn siblings while the owner waits, and those are waited for",
                 "[TG-25]") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&] {
        sleep_for(1s);
        group.spawn([&] {
          sleep_for(1s);
          group.spawn([&] {
            sleep_for(1s);
            seen("grandchild");
          });
        });
      });
    });
    seen("after");
  });
  CHECK(seen == "grandchild@3, after@3");
}

TEST_CASE_METHOD(virtual_time, "task group: a task outside the group may spawn into it") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([] { sleep_for(2s); });
      auto const stranger = spawn([&] {
        sleep_for(1s);
        group.spawn([&] {
          sleep_for(3s);
          seen("child");
        });
      });
      stranger.wait();
    });
    seen("after");
  });
  CHECK(seen == "child@4, after@4");
}

TEST_CASE_METHOD(virtual_time, "task group: a task<> kept by a child's callable is destroyed with the child") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&, helper = spawn([&] { seen(how([] { sleep_for(9s); })); })] { sleep_for(1s); });
    });
    seen("after");
  });
  CHECK(seen == "cancelled@1, after@1");
}

namespace {

// Is moved once into the group, and once more when all children have ended: then it spawns.
struct late_spawner {
  explicit late_spawner(std::function<void()> s) : spawn_late(std::move(s)) {}
  late_spawner(late_spawner&& other) : moves(other.moves + 1), spawn_late(std::move(other.spawn_late)) {
    if (moves == 2) spawn_late();
  }
  int moves = 0;
  std::function<void()> spawn_late;
};

}  // namespace

TEST_CASE_METHOD(virtual_time,
                 "task group: spawning into a group that has ended is refused, and the callable is destroyed",
                 "[TG-29]") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([] { sleep_for(1s); });
      return late_spawner([&] {
        seen(how([&] { group.spawn([object = counted()] {}); }));
        seen(how([&] { return counted::alive + static_cast<int>(group.size()); }));
      });
    });
  });
  CHECK(seen.contains("that is over (task_group.cpp:"));
  CHECK(seen.contains("returned 0@1"));
}

TEST_CASE("task group: outside a task it is refused", "[TG-32]") {
  bool entered = false;
  CHECK_THROWS_WITH(with_task_group([&](task_group&) { entered = true; }), ContainsSubstring("running task"));
  CHECK_FALSE(entered);
}

TEST_CASE_METHOD(virtual_time, "task group: an empty function is refused at once, and fails the body") {
  run([&] {
    with_task_group([&](task_group& group) {
      seen(how([&] { group.spawn(std::function<void()>()); }));
      seen(std::to_string(group.size()));
    });
  });
  CHECK(seen.contains("failed: fibers: an empty callable"));
  CHECK(seen.contains(", 0@0"));
}

// --- many, and nested ---

TEST_CASE_METHOD(virtual_time, "task group: ten thousand children end", "[TG-01]") {
  std::size_t const children = sanitized ? 1'000 : 10'000;
  std::size_t ended = 0;
  run([&] {
    with_task_group([&](task_group& group) {
      for (std::size_t i = 0; i < children; ++i) {
        group.spawn([&, i] {
          sleep_for(std::chrono::milliseconds(i % 7));
          ++ended;
        });
      }
    });
    seen("after");
  });
  CHECK(ended == children);
  CHECK(seen == "after@0.006");
}

TEST_CASE_METHOD(virtual_time, "task group: ten thousand children are cancelled at once") {
  std::size_t const children = sanitized ? 1'000 : 10'000;
  std::size_t cancelled = 0;
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        for (std::size_t i = 0; i < children; ++i) {
          group.spawn([&] {
            try {
              sleep_for(9s);
            } catch (fibers::cancelled_error const&) {
              ++cancelled;
              throw;
            }
          });
        }
        sleep_for(1s);
        group.cancel_all();
      });
    }));
  });
  CHECK(cancelled == children);
  CHECK(seen == "returned@1");
}

TEST_CASE_METHOD(virtual_time, "task group: groups nest, in bodies and in children, and each waits for its own") {
  run([&] {
    with_task_group([&](task_group& outer) {
      outer.spawn([&] {
        with_task_group([&](task_group& inner) {
          inner.spawn([] { sleep_for(1s); });
          inner.spawn([&] { with_task_group([](task_group& innermost) { innermost.spawn([] { sleep_for(2s); }); }); });
        });
        seen("child's");
      });
      with_task_group([&](task_group& inner) {
        inner.spawn([] { sleep_for(3s); });
        outer.spawn([&] {
          sleep_for(4s);
          seen("outer's child");
        });
      });
      seen("body's");
    });
    seen("outer");
  });
  CHECK(seen == "child's@2, body's@3, outer's child@4, outer@4");
}

TEST_CASE_METHOD(virtual_time, "task group: a tree of groups ends, with a group in each child") {
  int leaves = 0;
  run([&] {
    std::function<void(int)> const grow = [&](int depth) {
      if (depth == 0) {
        this_task::yield();
        ++leaves;
        return;
      }
      with_task_group([&](task_group& group) {
        for (int i = 0; i < 3; ++i) group.spawn([&grow, depth] { grow(depth - 1); });
      });
    };
    grow(5);
  });
  CHECK(leaves == 243);
}
