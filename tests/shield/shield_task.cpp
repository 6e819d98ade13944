// SPDX-License-Identifier: BSL-1.0

// shield() waits for a task that is not affected when the caller is cancelled.

#include <fibers/gather.hpp>
#include <fibers/shield.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::shield;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_handle;
using fibers::wait_for;
using fibers::testing::ends;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

int five_after(fibers::duration time) {
  sleep_for(time);
  return 5;
}

std::string state_of(task_handle<> const& task) {
  return !task.done() ? "runs" : task.cancelled() ? "cancelled" : "not cancelled";
}

}  // namespace

// --- the outcome ---

TEST_CASE_METHOD(virtual_time, "shield(task): returns the result of the task", "[SH-01]") {
  int number = 0;
  run([&] {
    auto owned = spawn([] { return std::make_unique<int>(5); });
    seen(std::to_string(*shield(owned)));
    seen(how([&] { shield(owned); }).substr(0, 33));  // the result was moved out, as by get()
    auto same = spawn([&]() -> int& { return number; });
    seen(&shield(same) == &number ? "the same" : "another");
    auto const shared = spawn([] { return five_after(1s); });
    seen(ends([&] { return shield(shared.handle()) + shield(shared.handle()); }));
    task_handle<> const erased = shared.handle();
    seen(ends([&] { shield(erased); }));
  });
  CHECK(seen == "5@0, failed: fibers: the result of thi@0, the same@0, returned 10@1, returned@1");
}

TEST_CASE_METHOD(virtual_time, "shield(task): throws what the task threw, the same object", "[SH-02]") {
  run([&] {
    auto child = spawn([] {
      sleep_for(1s);
      throw std::runtime_error("no");
    });
    std::runtime_error const* thrown = nullptr;
    try {
      shield(child);
    } catch (std::runtime_error const& error) {
      thrown = &error;
      seen(error.what());
    }
    try {
      child.get();
    } catch (std::runtime_error const& error) {
      seen(&error == thrown ? "the same" : "another");
    }
  });
  CHECK(seen == "no@1, the same@1");
}

TEST_CASE_METHOD(virtual_time, "shield(task): throws cancelled_error if the task was cancelled", "[SH-03]") {
  run([&] {
    auto child = spawn([] { sleep_for(9s); });
    auto const waiting = spawn([&] { seen(ends([&] { shield(child); })); });
    sleep_for(1s);
    child.cancel("by hand");
    waiting.wait();
    seen(state_of(waiting.handle()));
  });
  CHECK(seen == "cancelled: by hand@1, not cancelled@1");
}

TEST_CASE_METHOD(virtual_time, "shield(task): returns the outcome of a task that has ended at once", "[SH-09]") {
  run([&] {
    auto value = spawn([] { return 5; });
    auto failure = spawn([] { throw std::runtime_error("no"); });
    sleep_for(1s);
    seen(ends([&] { return shield(value); }));
    seen(ends([&] { shield(failure); }));
  });
  CHECK(seen == "returned 5@1, failed: no@1");
}

// --- the caller is cancelled ---

TEST_CASE_METHOD(virtual_time, "shield(task): a cancelled caller leaves at once, and the task continues",
                 "[SH-04][SH-05][SH-06]") {
  run([&] {
    auto child = spawn([] { return five_after(3s); });
    auto const waiting = spawn([&] {
      shield(child);
      seen("not reached");
    });
    sleep_for(1s);
    waiting.cancel("enough");
    waiting.wait();
    seen(state_of(waiting.handle()));
    seen(state_of(child.handle()) + ", asked " + std::to_string(child.cancelling()));
    seen(ends([&] { return child.get(); }));
  });
  CHECK(seen == "cancelled@1, runs, asked 0@1, returned 5@3");
}

TEST_CASE_METHOD(virtual_time, "shield(task): of two callers, a cancelled one disturbs neither the other nor the task",
                 "[SH-16]") {
  run([&] {
    auto child = spawn([] { return five_after(3s); });
    auto const waits = [&] { seen(ends([&] { return shield(child.handle()); })); };
    auto const first = spawn(waits);
    auto const second = spawn(waits);
    sleep_for(1s);
    first.cancel("enough");
    second.wait();
  });
  CHECK(seen == "cancelled: enough, asked 1@1, returned 5@3");
}

TEST_CASE_METHOD(virtual_time, "shield(task): a pending request is thrown first") {
  run([&] {
    auto child = spawn([] { return five_after(1s); });
    auto const waiting = spawn([&] {
      this_task::cancel("pending");
      seen(ends([&] { return shield(child); }));
      seen(ends([&] { return shield(child); }));
      this_task::cancel("pending");
      seen(ends([&] {
        return shield([&] {
          seen("spawned");
          return 5;
        });
      }));
    });
    waiting.wait();
  });
  CHECK(seen == "cancelled: pending, asked 1@0, returned 5, asked 1@1, cancelled: pending, asked 2@1");
}

TEST_CASE_METHOD(virtual_time,
                 "shield(task): if the task has just ended, its result is returned, and the request stays pending") {
  run([&] {
    auto child = spawn([] { return five_after(1s); });
    auto const waiting = spawn([&] {
      seen(ends([&] { return shield(child); }));
      seen(ends([] { this_task::checkpoint(); }));
    });
    child.on_done([&] { waiting.cancel("late"); });  // the waiting task is ready by then
    waiting.wait();
  });
  CHECK(seen == "returned 5, asked 1@1, cancelled: late, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "shield(task): of two in a row in clean-up, a request ends the wait, not the task",
                 "[TRAP-12]") {
  run([&] {
    auto child = spawn([&] {
      sleep_for(3s);
      seen("saved");
    });
    auto const waiting = spawn([&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        seen(ends([&] { shield(child); }));
        shield(child);  // no cancellation is left
        throw;
      }
    });
    sleep_for(1s);
    waiting.cancel("first");
    sleep_for(1s);
    waiting.cancel("second");
    waiting.wait();
    seen(state_of(waiting.handle()));
  });
  CHECK(seen == "cancelled: second, asked 2@2, saved@3, cancelled@3");
}

// --- unfetched errors ---

TEST_CASE_METHOD(virtual_time, "shield(task): after the caller has left, an error of the task is reported, once",
                 "[SH-07][SH-08][TRAP-11]") {
  int const callers = GENERATE(1, 2);
  run([&] {
    {
      auto const child = spawn("inner", [] {
                           sleep_for(2s);
                           throw std::runtime_error("no");
                         }).detach();
      std::vector<fibers::task<void>> waiting;
      for (int i = 0; i != callers; ++i) waiting.push_back(spawn([&] { shield(child); }));
      sleep_for(1s);
      for (auto const& each : waiting) each.cancel_and_wait();
    }
    seen(std::to_string(unfetched.size()) + " reported");
    sleep_for(2s);
    seen(std::to_string(unfetched.size()) + " reported");
  });
  CHECK(seen == "0 reported@1, 1 reported@3");
  CHECK(unfetched == std::vector<std::string>{"inner: failed: no"});
  unfetched.clear();
}

TEST_CASE_METHOD(virtual_time, "shield(task): an error that another task fetches is not reported", "[TRAP-11]") {
  run([&] {
    auto child = spawn([] {
      sleep_for(2s);
      throw std::runtime_error("no");
    });
    auto const waiting = spawn([&] { shield(child); });
    sleep_for(1s);
    waiting.cancel_and_wait();
    seen(ends([&] { child.get(); }));
  });
  CHECK(seen == "failed: no@2");
  CHECK(unfetched.empty());
}

TEST_CASE_METHOD(virtual_time, "shield(task): many cancelled waits leave nothing behind on a task",
                 "[TRAP-11][SH-04]") {
  run([&] {
    auto const child = spawn([] { return five_after(9s); });
    for (int i = 0; i != 100; ++i) {
      auto const waiting = spawn([&] { shield(child.handle()); });
      this_task::yield();
      waiting.cancel_and_wait();
    }
    seen(ends([&] { return child.handle().get(); }));
  });
  CHECK(seen == "returned 5@9");
}

// --- callables ---

TEST_CASE_METHOD(virtual_time, "shield(callable): spawns a task for it, which continues without the caller",
                 "[SH-12]") {
  run([&] {
    auto const self = this_task::id();
    seen(shield([&] { return this_task::id() == self; }) ? "the same task" : "another");
    seen(ends([] { return shield([] { return five_after(1s); }); }));
    seen(ends([] { shield([] { throw std::runtime_error("no"); }); }));
    auto const waiting = spawn([&] {
      shield([&] {
        sleep_for(2s);
        seen("saved");
      });
    });
    sleep_for(1s);
    waiting.cancel_and_wait();
    seen(state_of(waiting.handle()));
    sleep_for(9s);
  });
  CHECK(seen == "another@0, returned 5@1, failed: no@1, cancelled@2, saved@3");
}

TEST_CASE("shield(callable): outside a task it says that it needs one", "[SH-12]") {
  bool called = false;
  CHECK_THROWS_AS(shield([&] { called = true; }), fibers::invalid_state_error);
  CHECK_FALSE(called);
}

TEST_CASE_METHOD(virtual_time, "shield(callable): a cancelled caller leaves a gather in it running", "[SH-10]") {
  run([&] {
    auto gathering = spawn([] { return fibers::gather([] { return five_after(2s); }, [] { return five_after(3s); }); });
    auto const waiting = spawn([&] { shield(gathering); });
    sleep_for(1s);
    waiting.cancel_and_wait();
    seen(state_of(waiting.handle()));
    auto const [first, second] = gathering.get();
    seen(std::to_string(first + second));
  });
  CHECK(seen == "cancelled@1, 10@3");
}

TEST_CASE_METHOD(virtual_time, "gather: of shields, if cancelled, leaves the shielded tasks running", "[SH-11]") {
  run([&] {
    auto first = spawn([] { return five_after(2s); });
    auto second = spawn([] { return five_after(3s); });
    auto const waiting =
        spawn([&] { fibers::gather([&] { return shield(first.handle()); }, [&] { return shield(second.handle()); }); });
    sleep_for(1s);
    waiting.cancel_and_wait();
    seen(state_of(waiting.handle()));
    seen(ends([&] { return first.get() + second.get(); }));
  });
  CHECK(seen == "cancelled@1, returned 10@3");
}

// --- with wait_for ---

TEST_CASE_METHOD(virtual_time, "wait_for: of a shield, with a limit of 0, leaves the task running", "[SH-13]") {
  run([&] {
    auto child = spawn([] { return five_after(1s); });
    this_task::yield();
    seen(ends([&] { return wait_for([&] { return shield(child.handle()); }, 0s); }));
    seen(state_of(child.handle()) + ", asked " + std::to_string(child.cancelling()));
    seen(ends([&] { return child.get(); }));
  });
  CHECK(seen == "timed out@0, runs, asked 0@0, returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "wait_for: of a shield, without a limit, waits to the end", "[SH-14]") {
  run([&] {
    auto child = spawn([] { return five_after(1s); });
    seen(ends([&] { return wait_for([&] { return shield(child); }, fibers::no_timeout); }));
  });
  CHECK(seen == "returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "wait_for: of a shield times out, and the task still runs", "[SH-15]") {
  run([&] {
    auto child = spawn([] { return five_after(3s); });
    seen(ends([&] { return wait_for([&] { return shield(child.handle()); }, 1s); }));
    seen(state_of(child.handle()));
    seen(ends([&] { return shield(child); }));
  });
  CHECK(seen == "timed out@1, runs@1, returned 5@3");
}

// --- the end of run() ---

TEST_CASE_METHOD(virtual_time, "shield(task): protects from nothing when run() ends", "[SH-17]") {
  run([&] {
    auto const child = spawn([&] { seen(ends([] { sleep_for(9s); })); }).detach();
    spawn([&, child] { seen(ends([&] { shield(child); })); }).detach();
    spawn([&] { seen(ends([] { shield([] { sleep_for(9s); }); })); }).detach();
    sleep_for(1s);
  });
  CHECK(seen == "cancelled, asked 1@1, cancelled, asked 1@1, cancelled, asked 1@1");
}
