// SPDX-License-Identifier: BSL-1.0

// A return is a completed operation: what a body returns is its result, whatever others have requested meanwhile.

#include <array>
#include <atomic>
#include <fibers/fibers.hpp>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::queue;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// A queue, and a task that waits for an item of it.
struct getting {
  queue<int> items{fibers::unbounded};
  fibers::task<int> task = spawn([this] { return items.get(); });

  getting() { this_task::yield(); }
};

// Returns how `caller` ends if it is cancelled in the turn in which its wait completes, and what its next wait does
// then.
template <class F>
std::string asked_and_completed(F caller, std::function<void()> const& complete, bool request_first) {
  std::string seen;
  auto const task = spawn([&] {
    seen = how(caller);
    seen += ", " + how([] { this_task::checkpoint(); });
  });
  sleep_for(1s);
  if (request_first) task.cancel("outside");
  complete();
  if (!request_first) task.cancel("outside");
  task.wait();
  return seen;
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "return: the result of a task that is cancelled after its last wait stands") {
  run([&] {
    getting one;
    one.items.put(7);
    CHECK(one.task.cancel());
    seen(how([&] { return one.task.get(); }));
    seen(one.task.cancelled() ? "cancelled" : "done");
    seen(std::to_string(one.task.cancelling()));
  });
  CHECK(seen == "returned 7@0, done@0, 1@0");
}

TEST_CASE_METHOD(virtual_time, "return: it stands whichever party has requested the end") {
  run([&] {
    {
      getting one;  // a caller of get() that is cancelled
      auto caller = spawn([&] { return one.task.get(); });
      this_task::yield();
      one.items.put(2);
      caller.cancel();
      seen(how([&] { return caller.get(); }));
    }
    {
      getting one;  // the owner
      one.items.put(3);
      auto const handle = one.task.handle();
      one.task = {};
      seen(how([&] { return handle.get(); }));
    }
    {
      queue<int> items(fibers::unbounded);  // a group
      fibers::task_handle<int> child;
      fibers::with_task_group([&](fibers::task_group& group) {
        child = group.spawn([&] { return items.get(); });
        this_task::yield();
        items.put(4);
        group.cancel_all();
      });
      seen(how([&] { return child.get(); }));
    }
    {
      getting one;  // a limit of zero
      one.items.put(5);
      seen(how([&] { return fibers::wait_for(one.task, 0s); }));
    }
  });
  CHECK(seen == "returned 2@0, returned 3@0, returned 4@0, returned 5@0");
}

TEST_CASE("return: it stands if a thread, or a task of another loop, has requested the end") {
  bool const from_a_loop = GENERATE(false, true);
  CAPTURE(from_a_loop);
  std::string seen;
  fibers::run([&] {
    getting one;
    one.items.put(7);
    auto const cancel = [handle = one.task.handle()] { handle.cancel(); };
    std::thread([&] { from_a_loop ? fibers::run(cancel) : cancel(); }).join();
    seen = how([&] { return one.task.get(); }) + ", asked " + std::to_string(one.task.cancelling());
  });
  CHECK(seen == "returned 7, asked 1");
}

TEST_CASE_METHOD(virtual_time, "return: a request that the running task made of itself cancels it", "[TASK-23]") {
  run([&] {
    auto directly = spawn([] {
      this_task::cancel("itself");
      return 1;
    });
    seen(how([&] { return directly.get(); }));
    fibers::task_handle<int> child;
    bool const stops = GENERATE(false, true);
    fibers::with_task_group([&](fibers::task_group& group) {
      child = group.spawn([&] {
        stops ? group.stop("through its group") : group.cancel_all("through its group");
        return 1;
      });
      child.wait();
    });
    seen(how([&] { return child.get(); }));
    auto late = spawn([] {
      this_task::cancel("itself");
      how([] { this_task::checkpoint(); });
      return 1;
    });
    late.cancel("outside");
    seen(how([&] { return late.get(); }));
  });
  CHECK(seen == "cancelled: itself@0, cancelled: through its group@0, cancelled: outside@0");
}

TEST_CASE_METHOD(virtual_time, "return: gather of callables whose waits have all completed returns their results") {
  bool const request_first = GENERATE(false, true);
  CAPTURE(request_first);
  run([&] {
    queue<int> items(fibers::unbounded);
    auto const get = [&] { return items.get(); };
    auto const put_two = [&] {
      items.put(1);
      items.put(2);
    };
    std::string tuple, vector, outcomes;
    auto const sum = [](auto const&... each) { return (each + ...); };
    tuple = asked_and_completed([&] { return std::apply(sum, fibers::gather(get, get)); }, put_two, request_first);
    vector = asked_and_completed(
        [&] {
          auto const both = fibers::gather(std::vector(2, get));
          return both.at(0) + both.at(1);
        },
        put_two, request_first);
    outcomes = asked_and_completed(
        [&] {
          auto const [one, other] = fibers::gather(fibers::return_exceptions, get, get);
          return one.value() + other.value();
        },
        put_two, request_first);
    CHECK(tuple == "returned 3, cancelled: outside");
    CHECK(vector == tuple);
    CHECK(outcomes == tuple);
    CHECK(items.empty());
  });
}

TEST_CASE_METHOD(virtual_time, "return: gather of callables of which one still waits is cancelled, and takes nothing") {
  run([&] {
    queue<int> items(fibers::unbounded);
    queue<int> never(fibers::unbounded);
    auto const end = asked_and_completed(
        [&] {
          fibers::gather([&] { return never.get(); }, [] { sleep_for(9s); });
          return 0;
        },
        [] {}, true);
    CHECK(end == "cancelled: outside, returned");
  });
}

TEST_CASE_METHOD(virtual_time, "return: a callable of a race that returns a result wins, also while its group aborts") {
  bool const request_first = GENERATE(false, true);
  CAPTURE(request_first);
  run([&] {
    queue<int> items(fibers::unbounded);
    auto const end =
        asked_and_completed([&] { return fibers::race([&] { return items.get(); }, [] { return sleep_for(9s), 0; }); },
                            [&] { items.put(1); }, request_first);
    CHECK(end == "returned 1, cancelled: outside");
    CHECK(items.empty());
  });
}

TEST_CASE_METHOD(virtual_time,
                 "return: a race within a limit returns its result, and the limit leaves nothing behind") {
  run([&] {
    queue<int> items(fibers::unbounded);
    auto const putter = spawn([&] {
      sleep_for(1s);
      items.put(1);
    });
    this_task::yield();
    seen(how([&] {
      return fibers::with_timeout(
          1s, [&] { return fibers::race([&] { return items.get(); }, [] { return sleep_for(9s), 0; }); });
    }));
    seen(how([] { sleep_for(1s); }));
    seen(std::to_string(this_task::cancelling()));
  });
  CHECK(seen == "returned 1@1, returned@2, 0@2");
}

TEST_CASE_METHOD(virtual_time, "return: each element of for_each_concurrent that was taken is handled") {
  run([&] {
    queue<int> items(fibers::unbounded);
    std::vector<int> handled;
    std::array const elements{1, 2, 3};
    auto const end = asked_and_completed(
        [&] { fibers::for_each_concurrent(elements, 3, [&](int) { handled.push_back(items.get()); }); },
        [&] {
          for (int i = 0; i < 3; ++i) items.put(i);
        },
        false);
    CHECK(handled == std::vector{0, 1, 2});
    CHECK(end == "cancelled: outside, returned");
  });
}
