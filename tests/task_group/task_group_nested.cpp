// SPDX-License-Identifier: BSL-1.0

// Nested groups, of which one or both fail; and deadlocks.

#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>

#include "catch.hpp"
#include "groups.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::exception_group;
using fibers::sleep_for;
using fibers::task_group;
using fibers::with_task_group;
using fibers::testing::count;
using fibers::testing::fail;
using fibers::testing::how;
using fibers::testing::refusal;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

// --- nested ---

TEST_CASE_METHOD(virtual_time, "task group: a failure outside cancels the inner group, whose end is no error",
                 "[TG-13]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& outer) {
        outer.spawn([] {
          sleep_for(1s);
          fail("outer");
        });
        with_task_group([&](task_group& inner) { inner.spawn([&] { seen(how([] { sleep_for(9s); })); }); });
        seen("not reached");
      });
    }));
    seen(count());
  });
  CHECK(seen == "cancelled@1, failed: task group (1 exception: outer)@1, 0@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a failure inside is thrown by the outer group as a group in it",
                 "[TG-14]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& outer) {
        outer.spawn([&] { seen(how([] { sleep_for(9s); })); });
        with_task_group([&](task_group& inner) {
          inner.spawn([] {
            sleep_for(1s);
            fail("inner");
          });
        });
      });
    }));
    seen(count());
  });
  CHECK(seen == "cancelled@1, failed: task group (1 exception: task group (1 exception: inner))@1, 0@1");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: if inner and outer fail together, the inner can be handled, and the outer propagates",
                 "[TG-36][TRAP-15]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& outer) {
        try {
          with_task_group([&](task_group& inner) {
            inner.spawn([] { fail("inner"); });
            outer.spawn([] { fail("outer"); });
            sleep_for(9s);
          });
        } catch (exception_group const& errors) {
          seen(how([&] { throw errors; }));
        }
        seen(count());
        seen(how([] { sleep_for(1s); }));
      });
    }));
    seen(count());
  });
  CHECK(seen ==
        "failed: task group (1 exception: inner)@0, 1@0, cancelled@0, failed: task group (1 exception: outer)@0, 0@0");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: if a group in a child fails, its siblings are cancelled, and the nesting is kept") {
  run([&] {
    try {
      with_task_group([&](task_group& outer) {
        outer.spawn([] {
          with_task_group([](task_group& inner) {
            inner.spawn([] { fail("one"); });
            inner.spawn([] { sleep_for(9s); });
            sleep_for(9s);
          });
        });
        sleep_for(9s);
      });
    } catch (exception_group const& errors) {
      seen(how([&] { throw errors; }));
      seen(std::to_string(errors.for_each<refusal>([](refusal const&) {})));
    }
  });
  CHECK(seen == "failed: task group (1 exception: task group (1 exception: one))@0, 1@0");
}

// --- deadlocks ---

TEST_CASE_METHOD(virtual_time,
                 "task group: a deadlock of its owner is thrown without a group, after the children have been ended") {
  run([&] {
    seen(how([&] {
      try {
        with_task_group([&](task_group& group) {
          group.spawn("stuck", [&] {
            try {
              sleep_for(fibers::no_timeout);
            } catch (cancelled_error const&) {
              sleep_for(1s);
              seen("cleaned up");
              throw;
            }
          });
        });
      } catch (fibers::deadlock_error const& error) {
        bool const names =
            std::string(error.what()).find("'stuck' waits at task_group_nested.cpp") != std::string::npos;
        throw std::runtime_error(names ? "deadlock of 'stuck'" : error.what());
      }
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "cleaned up@1, failed: deadlock of 'stuck'@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "task group: a deadlock while the body waits is an error of the body") {
  run([&] {
    try {
      with_task_group([&](task_group& group) {
        group.spawn([&] { seen(how([] { sleep_for(fibers::no_timeout); })); });
        sleep_for(fibers::no_timeout);
      });
    } catch (exception_group const& errors) {
      seen(errors.contains<fibers::deadlock_error>() ? "deadlock" : "something else");
    }
  });
  CHECK(seen == "cancelled@0, deadlock@0");
}
