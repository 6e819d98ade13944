// SPDX-License-Identifier: BSL-1.0

// gather() of tasks and handles forwards a cancellation of its caller to the tasks.

#include <fibers/gather.hpp>
#include <fibers/shield.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <vector>

#include "callables.hpp"
#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::gather;
using fibers::return_exceptions;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task;
using fibers::task_handle;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

task<int> sleeper(int seconds) { return spawn(fibers::testing::sleeper(seconds)); }

/// Answers a cancellation in this way: "swallows" it, "fails", or cleans up for a while and ends.
task<int> answering(std::string answer, int seconds) {
  return spawn([answer, seconds] {
    try {
      sleep_for(99s);
    } catch (cancelled_error const&) {
      sleep_for(std::chrono::seconds(seconds));
      if (answer == "fails") throw std::runtime_error("clean-up");
      if (answer == "goes") throw;
    }
    return seconds;
  });
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "gather: if cancelled, it forwards the request to every task", "[GA-11]") {
  run([&] {
    auto const inner = sleeper(9);
    auto const outer = spawn([&] { return inner.handle().get(); });
    auto const other = sleeper(9);
    auto caller = spawn([&] { gather(outer, other); });
    sleep_for(1s);
    seen(std::to_string(caller.cancel("enough")));
    seen(how([&] { caller.get(); }));
    this_task::yield();
    for (auto const* const each : {&inner, &outer, &other}) {
      seen(std::to_string(each->cancelled()) + std::to_string(each->cancelling()));
    }
    seen(std::to_string(caller.cancelling()) + std::to_string(caller.cancel()));
  });
  CHECK(seen == "1@1, cancelled: enough@1, 11@1, 11@1, 11@1, 10@1");
}

TEST_CASE_METHOD(virtual_time, "gather: if cancelled when all are done, it returns its results", "[GA-14]") {
  run([&] {
    auto const one = sleeper(1);
    auto caller = spawn([&] {
      auto const [result] = gather(one);
      seen(std::to_string(result));
      sleep_for(1s);
    });
    one.on_done([&] { caller.cancel("late"); });
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "1@1, cancelled: late@1");
}

TEST_CASE_METHOD(virtual_time,
                 "gather: if cancelled, with errors as results, it throws the cancellation and returns no list",
                 "[GA-15][GA-17][TRAP-07]") {
  run([&] {
    auto const quick = answering("goes", 0), slow = answering("goes", 2);
    auto caller = spawn([&] { gather(return_exceptions, quick, slow); });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
    seen(std::to_string(quick.cancelled()) + std::to_string(slow.cancelled()));
  });
  CHECK(seen == "cancelled: enough@3, 11@3");
}

TEST_CASE_METHOD(virtual_time,
                 "gather: if cancelled, without errors as results, it returns with the first task that has ended",
                 "[GA-16][TRAP-09]") {
  run([&] {
    auto const quick = answering("goes", 1), slow = answering("goes", 3);
    auto caller = spawn([&] { gather(slow, quick); });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
    seen(std::to_string(slow.done()));
    slow.wait();
    seen("slow");
  });
  CHECK(seen == "cancelled: enough@2, 0@2, slow@4");
}

TEST_CASE_METHOD(virtual_time, "gather: if cancelled, and all swallow that, it throws cancelled_error nevertheless",
                 "[GA-18]") {
  bool const as_results = GENERATE(false, true);
  CAPTURE(as_results);
  run([&] {
    auto const one = answering("swallows", 1), two = answering("swallows", 2);
    auto caller = spawn([&] {
      if (as_results) {
        gather(return_exceptions, one, two);
      } else {
        gather(one, two);
      }
    });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
    seen(how([&] { return one.handle().get() + two.handle().get(); }));
  });
  CHECK(seen == "cancelled: enough@3, returned 3@3");
}

TEST_CASE_METHOD(virtual_time,
                 "gather: if cancelled, and clean-up fails first, it throws that error, or the cancellation",
                 "[GA-19][TRAP-09]") {
  bool const as_results = GENERATE(false, true);
  CAPTURE(as_results);
  run([&] {
    auto const bad = answering("fails", 1), slow = answering("goes", 2);
    auto caller = spawn([&] {
      if (as_results) {
        gather(return_exceptions, bad, slow);
      } else {
        gather(bad, slow);
      }
    });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
    bad.cancel();
    slow.wait();
  });
  CHECK(seen == (as_results ? "cancelled: enough@3" : "failed: clean-up@2"));
}

TEST_CASE_METHOD(virtual_time, "gather: if cancelled again, it forwards that again", "[GA-11][TRAP-16]") {
  run([&] {
    auto const one = answering("swallows", 50), two = answering("goes", 50);
    auto caller = spawn([&] { gather(return_exceptions, one, two); });
    sleep_for(1s);
    caller.cancel("first");
    sleep_for(1s);
    caller.cancel("second");
    seen(how([&] { caller.get(); }));
    seen(std::to_string(one.cancelling()) + std::to_string(caller.cancelling()));
  });
  CHECK(seen == "cancelled: second@2, 22@2");
}

TEST_CASE_METHOD(virtual_time, "gather: a pending request is thrown before anything else, and is not forwarded",
                 "[TASK-37]") {
  run([&] {
    auto const one = sleeper(1);
    this_task::cancel("mine");
    seen(how([&] { gather(one); }));
    this_task::cancel("mine");
    seen(how([&] { gather(std::vector<task<int>>()); }));
    seen(std::to_string(one.cancelling()));
    one.wait();
    this_task::cancel("mine");
    seen(how([&] { gather(return_exceptions, one); }));
  });
  CHECK(seen == "cancelled: mine@0, cancelled: mine@0, 0@0, cancelled: mine@1");
}

TEST_CASE_METHOD(virtual_time, "gather: a timeout around it reaches the tasks") {
  run([&] {
    auto const one = sleeper(5), two = sleeper(6);
    seen(how([&] { fibers::with_timeout(1s, [&] { gather(one, two); }); }).substr(0, 17));
    fibers::wait(std::vector{one.handle(), two.handle()});
    seen(std::to_string(one.cancelled()) + std::to_string(two.cancelled()));
  });
  CHECK(seen == "failed: timed out@1, 11@1");
}

TEST_CASE_METHOD(virtual_time, "gather: in a shield no request from outside reaches the tasks") {
  run([&] {
    auto const one = sleeper(5);
    auto caller = spawn([&] {
      fibers::with_shield([&] { seen(how([&] { return std::get<0>(gather(one)); })); });
      this_task::yield();
    });
    sleep_for(1s);
    caller.cancel("out");
    seen(how([&] { caller.get(); }));
    seen(std::to_string(one.cancelling()));
  });
  CHECK(seen == "returned 5@5, cancelled: out@5, 0@5");
}

TEST_CASE_METHOD(virtual_time, "gather: tasks that gather each other end when one of them is cancelled", "[TRAP-26]") {
  run([&] {
    std::vector<task_handle<>> both;
    for (int i = 0; i < 2; ++i) {
      both.push_back(
          spawn([&, i] { gather(return_exceptions, std::vector{both[1 - static_cast<std::size_t>(i)]}); }).detach());
    }
    sleep_for(1s);
    seen(std::to_string(both[0].cancel("enough")));
    fibers::wait(both, fibers::return_when::all_completed, 1s);
    seen(std::to_string(both[0].done()) + std::to_string(both[1].done()));
  });
  CHECK(seen == "1@1, 11@1");
}

TEST_CASE_METHOD(virtual_time,
                 "gather: a task that waits for tasks that gather each other can be cancelled, and so can they") {
  run([&] {
    std::vector<task_handle<>> all(2);
    auto first = spawn([&] { gather(std::vector{all[1]}); });
    auto second = spawn([&] { gather(std::vector{all[0]}); });
    all = {first.handle(), second.handle()};
    sleep_for(1s);
    task<void> outside;
    auto outermost = spawn([&] { outside.handle().get(); });
    outside = spawn([&] { first.handle().get(); });
    sleep_for(1s);
    outermost.cancel();
    for (auto* each : {&first, &second, &outside, &outermost}) seen(how([&] { each->handle().get(); }));
  });
  CHECK(seen == "cancelled@2, cancelled@2, cancelled@2, cancelled@2");
}

TEST_CASE_METHOD(virtual_time, "gather: an owner can destroy a task that waits for tasks that gather each other") {
  run([&] {
    std::vector<task_handle<>> all(2);
    auto first = spawn([&] { gather(std::vector{all[1]}); });
    auto second = spawn([&] { gather(std::vector{all[0]}); });
    all = {first.handle(), second.handle()};
    auto outside = spawn([&] { first.handle().get(); });
    sleep_for(1s);
    outside = {};
    for (auto* each : {&first, &second}) seen(how([&] { each->get(); }));
  });
  CHECK(seen == "cancelled@1, cancelled@1");
}

TEST_CASE_METHOD(virtual_time, "gather: in a deadlock the caller gets an error") {
  run([&] {
    auto const stuck = spawn([] { sleep_for(fibers::no_timeout); });
    seen(how([&] { gather(stuck); }).substr(0, 16));
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: deadlock@0, returned@1");
}
