// SPDX-License-Identifier: BSL-1.0

// cancel_all() cancels the present children, also those that swallowed a request before; the group continues.

#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>

#include "catch.hpp"
#include "groups.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::task_group;
using fibers::with_task_group;
using fibers::testing::count;
using fibers::testing::counted;
using fibers::testing::fail;
using fibers::testing::how;
using fibers::testing::slow_to_end;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(virtual_time, "cancel_all: cancels the present children, and the group continues") {
  run([&] {
    with_task_group([&](task_group& group) {
      for (int i = 0; i < 2; ++i) group.spawn([&] { seen(how([] { sleep_for(9s); })), throw cancelled_error(); });
      sleep_for(1s);
      group.cancel_all("enough");
      seen(std::to_string(group.size()));
      group.spawn([&] {
        sleep_for(1s);
        seen("later child");
      });
      sleep_for(2s);
      seen("body " + count());
    });
    seen("after " + count());
  });
  CHECK(seen == "2@1, cancelled: enough@1, cancelled: enough@1, later child@2, body 0@3, after 0@3");
}

TEST_CASE_METHOD(virtual_time, "cancel_all: a child that swallowed its first request gets a second one", "[TRAP-16]") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&] {
        seen(how([] { sleep_for(9s); }));
        seen(how([] { sleep_for(9s); }));
        seen(how([] { sleep_for(1s); }));
      });
      sleep_for(1s);
      group.cancel_all("once");
      sleep_for(1s);
      group.cancel_all("twice");
    });
    seen("after");
  });
  CHECK(seen == "cancelled: once@1, cancelled: twice@2, returned@3, after@3");
}

TEST_CASE_METHOD(virtual_time, "cancel_all: reaches a child that delays a group which is aborting", "[TRAP-16]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          seen(how([] { sleep_for(99s); }));
          seen(how([] { sleep_for(99s); }));
        });
        group.spawn([] { slow_to_end(9s); });
        group.spawn([&] {
          try {
            sleep_for(99s);
          } catch (cancelled_error const&) {
            sleep_for(2s);
            seen("again");
            group.cancel_all("again");
          }
        });
        sleep_for(1s);
        fail("body");
      });
    }));
  });
  CHECK(seen == "cancelled@1, again@3, cancelled: again@3, failed: task group (1 exception: body)@3");
}

TEST_CASE_METHOD(virtual_time, "cancel_all: a child that calls it cancels itself too") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&] { seen(how([] { sleep_for(9s); })); });
      group.spawn([&] {
        sleep_for(1s);
        group.cancel_all("all");
        seen(count());
        seen(how([] { sleep_for(9s); }));
      });
    });
    seen("after " + count());
  });
  CHECK(seen == "1@1, cancelled: all@1, cancelled: all@1, after 0@1");
}

TEST_CASE_METHOD(virtual_time,
                 "cancel_all: children that have not begun never begin; without children nothing happens") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.cancel_all();
      group.spawn([&, object = counted()] { seen("not reached"); });
      group.cancel_all();
      sleep_for(1s);
      seen(std::to_string(group.size()));
    });
  });
  CHECK(seen == "0@1");
}

TEST_CASE_METHOD(virtual_time, "cancel_all: a callback of a stop_token may spawn and cancel in its turn") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&] {
        std::stop_callback const on_cancel(this_task::stop_token(), [&] {
          group.spawn([&] { seen("spawned by the callback"); });
          group.cancel_all("inner");
        });
        seen(how([] { sleep_for(9s); }));
      });
      sleep_for(1s);
      group.cancel_all("outer");
    });
    seen("after");
  });
  CHECK(seen == "cancelled: inner@1, after@1");  // the task that the callback spawned was cancelled with the others
}

TEST_CASE_METHOD(virtual_time, "cancel_all: the error names the requesting task, the group and the call site") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const& error) {
          seen(error.what());
        }
      });
      sleep_for(1s);
      group.cancel_all("enough");
    });
  });
  CHECK(seen.contains("enough"));
  CHECK(seen.contains("'main'"));
  CHECK(seen.contains("task_group_cancel_all.cpp:"));
}
