// SPDX-License-Identifier: BSL-1.0

// Several calls at a time, up to a limit.

#include <fibers/for_each_concurrent.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <fibers/wait.hpp>
#include <list>
#include <memory>
#include <vector>

#include "catch.hpp"
#include "one_pass.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::for_each_concurrent;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::one_pass;
using fibers::testing::sanitized;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

std::vector<int> numbers(int from, int to = 1000) {
  std::vector<int> all;
  for (int i = from; i < to; ++i) all.push_back(i);
  return all;
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: runs as many calls at a time as the limit and the range allow") {
  std::size_t const limit = GENERATE(1u, 2u, 3u, 6u, 100u);
  CAPTURE(limit);
  std::size_t running = 0, most = 0, calls = 0;
  run([&] {
    for_each_concurrent(std::vector<int>(6), limit, [&](int) {
      ++calls;
      most = std::max(most, ++running);
      sleep_for(1s);
      --running;
    });
    seen("over");
  });
  CHECK(calls == 6);
  CHECK(most == std::min<std::size_t>(limit, 6));
  CHECK(seen == "over@" + std::to_string((6 + std::min<std::size_t>(limit, 6) - 1) / std::min<std::size_t>(limit, 6)));
}

TEST_CASE_METHOD(virtual_time,
                 "for_each_concurrent: begins in order, and each call that ends makes room for the next") {
  run([&] {
    for_each_concurrent(std::vector{3, 1, 1, 1}, 2, [&](int seconds) {
      seen("begin " + std::to_string(seconds));
      sleep_for(std::chrono::seconds(seconds));
      seen("end");
    });
  });
  CHECK(seen == "begin 3@0, begin 1@0, end@1, begin 1@1, end@2, begin 1@2, end@3, end@3");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: an empty range does nothing; a limit of 0 is refused") {
  run([&] {
    seen(how([] { for_each_concurrent(std::vector<int>(), 5, [](int) {}); }));
    seen(how([] { for_each_concurrent(std::vector{1}, 0, [](int) {}); }));
  });
  CHECK(seen == "returned@0, failed: fibers: for_each_concurrent() with a limit of 0 would never begin@0");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: elements are the range's own, if it has any") {
  std::vector<int> some{1, 2, 3};
  run([&] {
    for_each_concurrent(some, 2, [](int& number) {
      sleep_for(1s);
      number *= 2;
    });
    std::list<std::unique_ptr<int>> pointers;
    pointers.push_back(std::make_unique<int>(5));
    for_each_concurrent(pointers, 2, [&](std::unique_ptr<int> const& pointer) { seen(std::to_string(*pointer)); });
  });
  CHECK(some == std::vector{2, 4, 6});
  CHECK(seen == "5@2");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: passes each element of a single-pass range once") {
  run([&] {
    for_each_concurrent(one_pass(5, [](int i) { return std::make_unique<int>(i); }), 4,
                        [&](std::unique_ptr<int> number) {
                          sleep_for(1s);
                          seen(std::to_string(*number));
                        });
  });
  CHECK(seen == "0@1, 1@1, 2@1, 3@1, 4@2");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: takes a range that itself waits for its elements") {
  run([&] {
    std::vector<fibers::task<int>> tasks;
    for (int const seconds : {3, 1, 2}) {
      tasks.push_back(spawn([seconds] {
        sleep_for(std::chrono::seconds(seconds));
        return seconds;
      }));
    }
    for_each_concurrent(fibers::as_completed(tasks), 2, [&](fibers::task_handle<int> const& each) {
      sleep_for(500ms);
      seen(std::to_string(each.get()));
    });
  });
  CHECK(seen == "1@1.5, 2@2.5, 3@3.5");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: the first error ends it, and no more elements are begun",
                 "[TG-04]") {
  run([&] {
    seen(how([&] {
      for_each_concurrent(numbers(1), 2, [&](int number) {
        if (number == 4) throw std::runtime_error("four");
        std::string const end = how([&] { sleep_for(std::chrono::seconds(number)); });
        seen(std::to_string(number) + " " + end);
        if (end == "cancelled") throw cancelled_error();
      });
    }));
    seen(std::to_string(this_task::cancelling()));
  });
  CHECK(seen == "1 returned@1, 2 returned@2, 3 cancelled@2, failed: task group (1 exception: four)@2, 0@2");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: a cancelled call is not an error, and the others continue",
                 "[TG-03]") {
  run([&] {
    for_each_concurrent(numbers(0, 6), 2, [&](int number) {
      sleep_for(1s);
      if (number % 2 == 0) throw cancelled_error();
      seen(std::to_string(number));
    });
    seen("over");
  });
  CHECK(seen == "1@1, 3@2, 5@3, over@3");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: if cancelled, it ends the calls under way and begins no more",
                 "[TG-07]") {
  run([&] {
    auto caller = spawn([&] {
      for_each_concurrent(numbers(0), 2, [&, object = std::make_shared<counted>()](int number) {
        if (number >= 2) seen("not reached");
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          sleep_for(1s);
          seen("cleaned up " + std::to_string(number));
          throw;
        }
      });
    });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
    seen(how([] {
           fibers::with_timeout(1s, [] { for_each_concurrent(std::vector{1}, 1, [](int) { sleep_for(9s); }); });
         }).substr(0, 17));
  });
  CHECK(seen == "cleaned up 0@2, cleaned up 1@2, cancelled: enough@2, failed: timed out@3");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: can be cancelled while its range waits for elements") {
  run([&] {
    std::vector<fibers::task<void>> tasks;
    tasks.push_back(spawn([] { sleep_for(5s); }));
    auto caller =
        spawn([&] { for_each_concurrent(fibers::as_completed(tasks), 2, [&](auto const&) { seen("not reached"); }); });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
    seen(std::to_string(tasks[0].cancelling()));
  });
  CHECK(seen == "cancelled: enough@1, 0@1");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: a pending request is thrown before any call", "[TASK-37]") {
  run([&] {
    for (int const elements : {0, 3}) {
      this_task::cancel("mine");
      seen(how([&] { for_each_concurrent(numbers(0, elements), 2, [&](int) { seen("not reached"); }); }));
    }
  });
  CHECK(seen == "cancelled: mine@0, cancelled: mine@0");
}

TEST_CASE_METHOD(virtual_time,
                 "for_each_concurrent: an error of the range itself is thrown after the calls have ended") {
  run([&] {
    auto some = one_pass(5, [](int n) {
      if (n == 3) throw std::runtime_error("bad element");
      return n;
    });
    seen(how([&] { for_each_concurrent(some, 2, [&](int) { sleep_for(1s); }); }));
  });
  CHECK(seen == "failed: task group (1 exception: bad element)@1");
}

TEST_CASE_METHOD(virtual_time, "for_each_concurrent: handles a hundred thousand elements, a hundred at a time") {
  int const elements = sanitized ? 5'000 : 100'000;
  long long sum = 0;
  run([&] {
    for_each_concurrent(numbers(0, elements), 100, [&](int number) {
      this_task::yield();
      sum += number;
    });
  });
  CHECK(sum == static_cast<long long>(elements) * (elements - 1) / 2);
}
