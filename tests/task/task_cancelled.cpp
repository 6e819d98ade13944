// SPDX-License-Identifier: BSL-1.0

// The effects of a cancellation request: what the body makes of it, and what waiting tasks see.

#include <fibers/gather.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <stdexcept>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_handle;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// "cancelled, asked 1 time(s)"
std::string state_of(task_handle<> const& task) {
  std::string const asked = ", asked " + std::to_string(task.cancelling());
  return (!task.done() ? "runs" : task.cancelled() ? "cancelled" : "not cancelled") + asked;
}

}  // namespace

// --- the body ---

TEST_CASE_METHOD(virtual_time, "cancel: a body that catches it and returns is done, with the value", "[TASK-20]") {
  run([&] {
    auto child = spawn([] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
      }
      return 5;
    });
    sleep_for(1s);
    child.cancel();
    seen(how([&] { return child.get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "returned 5@1, not cancelled, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: a body that catches it may wait again, undisturbed",
                 "[TASK-21][UNC-10][TRAP-32]") {
  run([&] {
    auto inner = spawn([] {
      sleep_for(3s);
      return 5;
    });
    auto child = spawn([&] {
      seen(how([] { sleep_for(9s); }));
      return inner.get();
    });
    sleep_for(1s);
    child.cancel();
    seen(how([&] { return child.get(); }));
    seen(state_of(child.handle()));
    seen(state_of(inner.handle()));
  });
  CHECK(seen == "cancelled@1, returned 5@3, not cancelled, asked 1@3, not cancelled, asked 0@3");
}

TEST_CASE_METHOD(virtual_time, "cancel: it unwinds from the innermost call outwards", "[TASK-27]") {
  run([&] {
    auto const inner = [&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        seen("inner");
        throw;
      }
    };
    auto const child = spawn([&] {
      try {
        inner();
      } catch (cancelled_error const&) {
        seen("outer");
        throw;
      }
    });
    sleep_for(1s);
    child.cancel_and_wait();
    seen(state_of(child.handle()));
  });
  CHECK(seen == "inner@1, outer@1, cancelled, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: destructors run while it unwinds, and may suspend") {
  struct closer {
    fibers::testing::record& seen;
    ~closer() {
      sleep_for(1s);
      seen("closed");
    }
  };
  run([&] {
    auto const child = spawn([&] {
      closer const at_the_end{seen};
      sleep_for(9s);
    });
    sleep_for(1s);
    child.cancel_and_wait();
    seen(state_of(child.handle()));
  });
  CHECK(seen == "closed@2, cancelled, asked 1@2");
}

TEST_CASE_METHOD(virtual_time, "cancel: clean-up may suspend, and a second request interrupts it", "[TASK-36]") {
  run([&] {
    auto child = spawn([&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        sleep_for(1s);
        seen("half");
        sleep_for(1s);
        seen("not reached");
      }
    });
    this_task::yield();
    child.cancel("first");
    sleep_for(1500ms);
    seen(child.cancel("second") ? "accepted" : "too late");
    seen(how([&] { child.get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "half@1, accepted@1.5, cancelled: second@1.5, cancelled, asked 2@1.5");
}

TEST_CASE_METHOD(virtual_time, "cancel: a body that answers with another exception fails with that", "[TASK-32]") {
  run([&] {
    auto child = spawn([] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        throw std::runtime_error("no");
      }
    });
    this_task::yield();
    child.cancel();
    seen(how([&] { child.get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "failed: no@0, not cancelled, asked 1@0");
}

TEST_CASE_METHOD(virtual_time, "cancel: a cancelled_error that the body throws itself makes the task cancelled",
                 "[TASK-40]") {
  run([&] {
    auto child = spawn([] { throw cancelled_error("by itself"); });
    seen(how([&] { child.get(); }));
    seen(state_of(child.handle()));
  });
  CHECK(seen == "cancelled: by itself@0, cancelled, asked 0@0");
}

TEST_CASE_METHOD(virtual_time, "cancel: a handler for std::exception does not catch it") {
  run([&] {
    auto const child = spawn([&] {
      try {
        sleep_for(9s);
      } catch (std::exception const&) {
        seen("caught");
      }
    });
    this_task::yield();
    child.cancel_and_wait();
    seen(state_of(child.handle()));
  });
  CHECK(seen == "cancelled, asked 1@0");
}

// --- tasks that wait for a cancelled task ---

TEST_CASE_METHOD(virtual_time, "cancel: a task that waits for a task cancelled later sees it then, and may continue",
                 "[TASK-28]") {
  run([&] {
    auto child = spawn([] { sleep_for(9s); });
    auto const canceller = spawn([&] {
      sleep_for(2s);
      child.cancel("by a timer");
    });
    seen(how([&] { child.get(); }));
    sleep_for(1s);
    seen("goes on");
  });
  CHECK(seen == "cancelled: by a timer@2, goes on@3");
}

TEST_CASE_METHOD(virtual_time, "cancel: a task that waits for a task cancelled by another party ends cancelled too",
                 "[TASK-18]") {
  run([&] {
    auto inner = spawn([] { sleep_for(9s); });
    auto outer = spawn([&] { inner.get(); });
    sleep_for(1s);
    inner.cancel("inner");
    seen(how([&] { outer.get(); }));
    seen(state_of(outer.handle()) + ", " + state_of(inner.handle()));
  });
  CHECK(seen == "cancelled: inner@1, cancelled, asked 0, cancelled, asked 1@1");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel: if both sides of a get() are cancelled at once, the waiting task gets one cancelled_error",
                 "[TASK-19]") {
  bool const inner_first = GENERATE(true, false);
  run([&] {
    auto inner = spawn([] { sleep_for(9s); });
    auto outer = spawn([&] {
      seen(how([&] { inner.get(); }));
      seen(how([&] { sleep_for(1s); }));
      throw cancelled_error();
    });
    sleep_for(1s);
    if (inner_first) inner.cancel();
    outer.cancel();
    if (!inner_first) inner.cancel();
    outer.wait();
    seen(state_of(outer.handle()) + ", " + state_of(inner.handle()));
  });
  CHECK(seen == "cancelled@1, returned@2, cancelled, asked 1, cancelled, asked 2@2");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel: if the inner task swallows it and returns, the outer one continues with that value",
                 "[TASK-38]") {
  run([&] {
    auto inner = spawn([&] {
      seen(how([] { sleep_for(9s); }));
      sleep_for(1s);
      return 5;
    });
    auto outer = spawn([&] {
      auto const value = inner.get();
      sleep_for(1s);  // nothing is pending
      return value;
    });
    sleep_for(1s);
    outer.cancel();
    seen(how([&] { return outer.get(); }));
    seen(state_of(outer.handle()) + ", " + state_of(inner.handle()));
  });
  CHECK(seen == "cancelled@1, returned 5@3, not cancelled, asked 1, not cancelled, asked 1@3");
}

TEST_CASE_METHOD(virtual_time, "cancel: while the inner task continues, a further request is forwarded again") {
  run([&] {
    auto inner = spawn([&] {
      for (int i = 0; i != 2; ++i) seen(how([] { sleep_for(9s); }));
    });
    auto outer = spawn([&] { inner.get(); });
    sleep_for(1s);
    outer.cancel("first");
    sleep_for(1s);
    outer.cancel("second");
    seen(how([&] { outer.get(); }));
    seen(state_of(outer.handle()) + ", " + state_of(inner.handle()));
  });
  CHECK(seen ==
        "cancelled: first@1, cancelled: second@2, returned@2, not cancelled, asked 2, not cancelled, asked 2@2");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel: if two tasks wait in get(), cancelling the first cancels the inner one, and both see it",
                 "[TASK-39]") {
  run([&] {
    auto const inner = spawn([] { sleep_for(9s); });
    auto const first = spawn([&] { inner.handle().get(); });
    auto const second = spawn([&] { inner.handle().get(); });
    sleep_for(1s);
    first.cancel("first");
    seen(how([&] { second.handle().get(); }));
    seen(state_of(first.handle()) + ", " + state_of(second.handle()) + ", " + state_of(inner.handle()));
  });
  CHECK(seen == "cancelled: first@1, cancelled, asked 1, cancelled, asked 0, cancelled, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: a waiting task may turn it into another exception that holds it", "[TASK-31]") {
  run([&] {
    auto inner = spawn([] { sleep_for(9s); });
    auto outer = spawn([&] {
      try {
        inner.get();
      } catch (cancelled_error const&) {
        std::throw_with_nested(std::runtime_error("no answer"));
      }
    });
    sleep_for(1s);
    inner.cancel("too slow");
    try {
      outer.get();
    } catch (std::runtime_error const& error) {
      seen(error.what());
      seen(how([&] { std::rethrow_if_nested(error); }));
    }
  });
  CHECK(seen == "no answer@1, cancelled: too slow@1");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel: cancel_and_wait() throws nothing of the task's, but the caller's own cancellation") {
  run([&] {
    auto const slow = [&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        sleep_for(2s);
        throw;
      }
    };
    auto const quick = spawn([] { sleep_for(9s); });
    auto const first = spawn(slow);
    auto const caller = spawn([&] {
      seen(how([&] { quick.cancel_and_wait(); }));
      seen(how([&] { first.cancel_and_wait(); }));
    });
    sleep_for(1s);
    caller.cancel("me");
    caller.wait();
    seen(state_of(first.handle()));
    first.wait();
    seen(state_of(first.handle()));
  });
  CHECK(seen == "returned@0, cancelled: me@1, runs, asked 1@1, cancelled, asked 1@2");
}

// --- the origin of a cancellation ---

namespace {

/// Returns "own" or "of child": whose cancellation a call throws, as seen by the running task.
template <class F>
std::string whose(F&& call) {
  try {
    call();
    return "nobody's";
  } catch (cancelled_error const& error) {
    if (this_task::is_own(error)) return error.of() == this_task::id() ? "own" : "contradictory";
    return error.of() == fibers::task_id() ? "thrown by hand" : "another task's";
  }
}

}  // namespace

TEST_CASE_METHOD(virtual_time,
                 "cancel: a caller that was not cancelled can tell that get() throws another task's cancellation") {
  run([&] {
    auto child = spawn([] { sleep_for(9s); });
    auto caller = spawn([&] { seen(whose([&] { child.handle().get(); })); });
    sleep_for(1s);
    child.cancel();
    caller.get();
    seen(whose([&] { child.get(); }));

    auto unborn = spawn([] {});
    unborn.cancel();
    seen(whose([&] { unborn.get(); }));
    auto const by_hand = spawn([] { throw cancelled_error(); });
    seen(whose([&] { by_hand.handle().get(); }));
  });
  CHECK(seen == "another task's@1, another task's@1, another task's@1, thrown by hand@1");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel: a request that get() forwarded is the caller's own, and no other waiting task's") {
  run([&] {
    auto const inner = spawn([] { sleep_for(9s); });
    auto const middle = spawn([&] { seen("middle: " + whose([&] { inner.handle().get(); })); });
    auto const outer = spawn([&] { seen("outer: " + whose([&] { inner.handle().get(); })); });
    auto const tasks =
        spawn([&] { seen("gather: " + whose([&] { fibers::gather(inner.handle(), middle.handle()); })); });
    sleep_for(1s);
    outer.cancel();
    middle.wait();
    outer.wait();
    tasks.wait();
    seen("inner: " + whose([&] { inner.handle().get(); }));
  });
  CHECK(seen == "middle: another task's@1, outer: own@1, gather: another task's@1, inner: another task's@1");
}

TEST_CASE_METHOD(virtual_time, "cancel: a request that gather() forwarded to tasks is the caller's own") {
  run([&] {
    auto const sleep = [] { sleep_for(9s); };
    auto const first = spawn(sleep), second = spawn(sleep);
    auto const caller = spawn([&] { seen(whose([&] { fibers::gather(first.handle(), second.handle()); })); });
    auto const tolerant = spawn(
        [&] { seen(whose([&] { fibers::gather(fibers::return_exceptions, first.handle(), second.handle()); })); });
    sleep_for(1s);
    tolerant.cancel();
    tolerant.wait();
    caller.wait();

    auto const third = spawn(sleep), fourth = spawn(sleep);
    auto const other = spawn([&] { seen(whose([&] { fibers::gather(third.handle(), fourth.handle()); })); });
    sleep_for(1s);
    other.cancel();
    other.wait();
  });
  CHECK(seen == "another task's@1, own@1, own@2");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel: during clean-up another task's cancellation is not taken for the caller's own") {
  run([&] {
    auto const child = spawn([] { sleep_for(9s); });
    auto const caller = spawn([&] {
      seen(whose([] { sleep_for(9s); }));
      seen(whose([&] { child.handle().get(); }));
      seen(whose([&] { fibers::move_on_after(1s, [&] { seen(whose([] { sleep_for(9s); })); }); }));
    });
    sleep_for(1s);
    caller.cancel();
    fibers::this_task::yield();
    child.cancel();
    caller.wait();
  });
  CHECK(seen == "own@1, another task's@1, own@2, nobody's@2");
}
