// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <fibers/barrier.hpp>
#include <fibers/error.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <stdexcept>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::barrier;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {
class barrier_case : public virtual_time {
 protected:
  auto comer(barrier& b, std::string name) {
    return spawn([this, &b, name] { seen(name + " " + how([&] { return b.arrive_and_wait(); })); });
  }
};
}  // namespace

TEST_CASE("barrier: fewer than one party is refused", "[BAR-01]") {
  CHECK_THROWS_AS(barrier(0), std::invalid_argument);
  CHECK_THROWS_AS(barrier(-1), std::invalid_argument);
}

TEST_CASE_METHOD(barrier_case, "barrier: the last party wakes all, each with an index of its own", "[BAR-02][BAR-04]") {
  run([&] {
    barrier b(3);
    auto x = comer(b, "x");
    this_task::yield();
    seen(std::to_string(b.waiting()) + " wait");
    auto y = comer(b, "y");
    this_task::yield();
    seen(std::to_string(b.waiting()) + " wait");
    sleep_for(1s);
    auto z = comer(b, "z");
    x.get();
    y.get();
    z.get();
    seen(std::to_string(b.waiting()) + " wait");
    seen(b.broken() ? "broken" : "whole");
  });
  CHECK(seen == "1 wait@0, 2 wait@0, z returned 2@1, x returned 0@1, y returned 1@1, 0 wait@1, whole@1");
}

TEST_CASE_METHOD(barrier_case, "barrier: one party never waits", "[BAR-03]") {
  run([&] {
    barrier b(1);
    auto other = spawn([&] { seen("other"); });
    seen(how([&] { return b.arrive_and_wait(); }));
    seen(how([&] { return b.arrive_and_wait(); }));
    other.get();
  });
  CHECK(seen == "returned 0@0, returned 0@0, other@0");
}

TEST_CASE_METHOD(barrier_case, "barrier: a round begins as soon as the previous one is over", "[BAR-05][BAR-07]") {
  run([&] {
    barrier b(2);
    std::vector<std::size_t> numbers;
    auto const twice = [&] {
      numbers.push_back(b.arrive_and_wait());
      numbers.push_back(b.arrive_and_wait());
    };
    fibers::with_task_group([&](fibers::task_group& group) {
      group.spawn(twice);
      group.spawn(twice);
    });
    std::sort(numbers.begin(), numbers.end());
    for (auto const number : numbers) seen(std::to_string(number));
  });
  CHECK(seen == "0@0, 0@0, 1@0, 1@0");
}

TEST_CASE_METHOD(barrier_case,
                 "barrier: a cancelled party is not counted, and another takes its place with an index of its own",
                 "[BAR-08][TRAP-31]") {
  run([&] {
    barrier b(3);
    auto x = comer(b, "x");
    auto y = comer(b, "y");
    this_task::yield();
    x.cancel();
    this_task::yield();
    seen(std::to_string(b.waiting()) + " waits");
    seen(b.broken() ? "broken" : "whole");
    auto z = comer(b, "z");
    this_task::yield();
    seen(how([&] { return b.arrive_and_wait(); }));
    y.get();
    z.get();
  });
  CHECK(seen == "x cancelled@0, 1 waits@0, whole@0, returned 2@0, y returned 0@0, z returned 1@0");
}

TEST_CASE_METHOD(barrier_case, "barrier: a cancelled party that has not run yet is not counted") {
  run([&] {
    barrier b(2);
    auto x = comer(b, "x");
    this_task::yield();
    x.cancel();
    auto y = comer(b, "y");
    sleep_for(1s);
    seen(std::to_string(b.waiting()) + " waits");
    auto z = comer(b, "z");
    y.get();
    z.get();
  });
  CHECK(seen == "x cancelled@0, 1 waits@1, z returned 1@1, y returned 0@1");
}

TEST_CASE_METHOD(
    barrier_case,
    "barrier: if the round was complete before the cancel, the wait returns, and the request stays pending") {
  run([&] {
    barrier b(2);
    auto x = spawn([&] {
      seen(how([&] { return b.arrive_and_wait(); }));
      sleep_for(1s);
    });
    this_task::yield();
    b.arrive_and_wait();
    x.cancel();
    seen(how([&] { x.get(); }));
  });
  CHECK(seen == "returned 0@0, cancelled@0");
}

TEST_CASE_METHOD(barrier_case, "barrier: reset ends the waits with an error, and begins a new round",
                 "[BAR-09][BAR-10][BAR-13]") {
  run([&] {
    barrier b(2);
    b.reset();
    auto x = comer(b, "x");
    this_task::yield();
    b.reset();
    x.get();
    seen(b.broken() ? "broken" : "whole");
    auto y = comer(b, "y");
    this_task::yield();
    seen(how([&] { return b.arrive_and_wait(); }));
    y.get();
  });
  CHECK(seen == "x failed: the barrier is broken@0, whole@0, returned 1@0, y returned 0@0");
}

TEST_CASE_METHOD(barrier_case, "barrier: reset affects neither parties that have passed nor parties that arrive later",
                 "[BAR-11][BAR-12]") {
  run([&] {
    barrier b(2);
    auto x = comer(b, "x");
    this_task::yield();
    b.arrive_and_wait();  // x has passed, and has not run
    b.reset();
    auto y = comer(b, "y");
    x.get();
    seen(how([&] { return b.arrive_and_wait(); }));
    y.get();
  });
  CHECK(seen == "x returned 0@0, returned 1@0, y returned 0@0");
}

TEST_CASE_METHOD(barrier_case, "barrier: abort breaks it for waiting and arriving parties, until it is reset",
                 "[BAR-14][BAR-15][BAR-16][BAR-17]") {
  run([&] {
    barrier b(3);
    auto x = comer(b, "x");
    auto y = comer(b, "y");
    this_task::yield();
    b.abort();
    auto z = comer(b, "z");
    x.get();
    y.get();
    z.get();
    seen(b.broken() ? "broken" : "whole");
    b.reset();
    seen(b.broken() ? "broken" : "whole");
    auto v = comer(b, "v");
    auto w = comer(b, "w");
    this_task::yield();
    seen(how([&] { return b.arrive_and_wait(); }));
    w.get();
    v.get();
  });
  CHECK(seen ==
        "x failed: the barrier is broken@0, y failed: the barrier is broken@0, z failed: the barrier is broken@0, "
        "broken@0, whole@0, returned 2@0, v returned 0@0, w returned 1@0");
}

TEST_CASE_METHOD(barrier_case, "barrier: a wait that times out is not counted") {
  run([&] {
    barrier b(2);
    seen(fibers::move_on_after(1s, [&] { return b.arrive_and_wait(); }).has_value() ? "passed" : "gave up");
    seen(std::to_string(b.waiting()) + " wait");
  });
  CHECK(seen == "gave up@1, 0 wait@1");
}
