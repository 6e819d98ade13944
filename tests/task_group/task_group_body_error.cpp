// SPDX-License-Identifier: BSL-1.0

// The body of a group fails, alone or together with children.

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
using fibers::task_handle;
using fibers::with_task_group;
using fibers::testing::count;
using fibers::testing::counted;
using fibers::testing::fail;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(virtual_time,
                 "task group: a body that throws cancels the children, and its error is thrown in the group",
                 "[TG-10]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] { seen(how([] { sleep_for(9s); })); });
        sleep_for(1s);
        fail("body");
      });
    }));
    seen(count());
  });
  CHECK(seen == "cancelled@1, failed: task group (1 exception: body)@1, 0@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a body that throws before a child has run prevents it from running",
                 "[TG-11]") {
  run([&] {
    task_handle<> child;
    seen(how([&] {
      with_task_group([&](task_group& group) {
        child = group.spawn([&, object = counted()] { seen("not reached"); });
        fail("body");
      });
    }));
    seen(how([&] { return child.cancelled(); }));
  });
  CHECK(seen == "failed: task group (1 exception: body)@0, returned 1@0");
}

TEST_CASE_METHOD(virtual_time, "task group: a body that throws without children still yields a group", "[TG-45]") {
  run([&] { seen(how([] { with_task_group([](task_group&) { fail("body"); }); })); });
  CHECK(seen == "failed: task group (1 exception: body)@0");
}

TEST_CASE_METHOD(virtual_time, "task group: the body's error is after the children's",
                 "[TG-19][TG-21][TG-33][TG-46][TRAP-13]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          sleep_for(1s);
          fail("child");
        });
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          fail("body");
        }
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: task group (2 exceptions: child; body)@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "task group: children's clean-up errors are before the body's error that caused them",
                 "[TG-46]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            fail("child");
          }
        });
        this_task::yield();
        fail("body");
      });
    }));
  });
  CHECK(seen == "failed: task group (2 exceptions: child; body)@0");
}

TEST_CASE_METHOD(virtual_time, "task group: if a body waits for a child that fails, the error is thrown once",
                 "[TG-41]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        auto const child = group.spawn([] {
          sleep_for(1s);
          fail("no");
        });
        child.get();
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "task group: if a child waits for one that fails, the error is thrown once") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        auto const child = group.spawn([] {
          sleep_for(1s);
          fail("no");
        });
        group.spawn([&, child] { seen(how([&] { child.get(); })), child.get(); });
      });
    }));
  });
  CHECK(seen == "failed: no@1, failed: task group (1 exception: no)@1");
}

TEST_CASE_METHOD(virtual_time, "task group: an error that is fetched again during clean-up is a failure of its own") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        auto const child = group.spawn([] {
          sleep_for(1s);
          fail("no");
        });
        auto const fetch_it_when_cancelled = [child] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            child.get();
          }
        };
        group.spawn(fetch_it_when_cancelled);
        fetch_it_when_cancelled();
      });
    }));
  });
  CHECK(seen == "failed: task group (3 exceptions: no; no; no)@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a body that swallows the group's cancel is not cancelled again",
                 "[TG-42]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          sleep_for(1s);
          fail("no");
        });
        seen(how([] { sleep_for(9s); }));
        seen(how([] { sleep_for(1s); }));
        seen(count());
      });
    }));
    seen(count());
  });
  CHECK(seen == "cancelled@1, returned@2, 1@2, failed: task group (1 exception: no)@2, 0@2");
}

TEST_CASE_METHOD(virtual_time, "task group: a failure after the body's last wait leaves no request behind",
                 "[TG-34][TG-35]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] { fail("no"); });
        this_task::yield();  // the child fails, and that yield throws the request
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@0, 0@0, returned@1");
}

TEST_CASE_METHOD(virtual_time, "task group: an error is fetched by the group, also if a handle has fetched it too") {
  run([&] {
    task_handle<> child;
    try {
      with_task_group([&](task_group& group) { child = group.spawn([object = counted()] { fail("no"); }); });
    } catch (exception_group const&) {
    }
    seen(how([&] { child.get(); }));
  });
  CHECK(seen == "failed: no@0");
}

TEST_CASE_METHOD(virtual_time, "task group: afterwards only handlers keep the exceptions", "[TG-39]") {
  struct heavy {
    counted object;
  };
  run([&] {
    try {
      with_task_group([](task_group& group) {
        group.spawn([] { throw heavy(); });
        sleep_for(1s);
      });
    } catch (exception_group const&) {
      seen(std::to_string(counted::alive));
    }
    seen(std::to_string(counted::alive));
  });
  CHECK(seen == "1@0, 0@0");
}
