// SPDX-License-Identifier: BSL-1.0

// A group whose children fail: which tasks are cancelled, and what is thrown.

#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <functional>

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

// --- a child fails ---

TEST_CASE_METHOD(virtual_time, "task group: a child that fails cancels its siblings, and the code after does not run",
                 "[TG-04][TASK-20]") {
  run([&] {
    task_handle<> sibling;
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          sleep_for(1s);
          fail("no");
        });
        sibling =
            group.spawn([&] { seen(how([] { sleep_for(9s); })), this_task::checkpoint(), throw cancelled_error(); });
      });
      seen("not reached");
    }));
    seen(how([&] { return sibling.cancelled(); }));
  });
  CHECK(seen == "cancelled@1, failed: task group (1 exception: no)@1, returned 1@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a failure cancels the body's wait too, and the group waits for clean-up",
                 "[TG-05][TG-34][TG-35]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          sleep_for(1s);
          fail("no");
        });
        group.spawn([&] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            sleep_for(2s);
            seen("sibling's clean-up");
            throw;
          }
        });
        try {
          sleep_for(9s);
        } catch (cancelled_error const& error) {
          seen(error.origin().via == fibers::cancel_origin::kind::task_group ? "by the group" : "by whom?");
          throw;
        }
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "by the group@1, sibling's clean-up@3, failed: task group (1 exception: no)@3, 0@3, returned@4");
}

TEST_CASE_METHOD(virtual_time, "task group: all errors before the cancellation are thrown, in their order", "[TG-06]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        for (char const* const name : {"one", "two", "three"}) {
          group.spawn([name] {
            sleep_for(1s);
            fail(name);
          });
        }
        sleep_for(9s);
      });
    }));
    seen(count());
  });
  // At that instant all three sleeps had completed: a completed wait wins over a later request.
  CHECK(seen == "failed: task group (3 exceptions: one; two; three)@1, 0@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a child that has not begun when a sibling fails never begins",
                 "[TG-38][TRAP-17]") {
  run([&] {
    task_handle<> late;
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] { fail("no"); });
        late = group.spawn([&, object = counted()] { seen("not reached"); });
      });
    }));
    seen(how([&] { return late.cancelled(); }));
    seen(how([&] { late.get(); }));  // tells that its work was not done
  });
  CHECK(seen == "failed: task group (1 exception: no)@0, returned 1@0, cancelled@0");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: if a child's child in the same group fails at once, its spawning task is cancelled",
                 "[TG-38][TRAP-18][EAGER-12]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          group.spawn([] { fail("no"); });
          seen(how([] { sleep_for(9s); }));
        });
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "cancelled@0, failed: task group (1 exception: no)@0");
}

TEST_CASE_METHOD(virtual_time, "task group: children that keep spawning are stopped by one that fails", "[TG-26]") {
  run([&] {
    std::function<void(task_group&)> const breed = [&](task_group& group) {
      for (;;) {
        sleep_for(10ms);
        group.spawn([&] { breed(group); });
      }
    };
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] { breed(group); });
        group.spawn([] {
          sleep_for(55ms);
          fail("no");
        });
      });
    }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@0.055");
}

TEST_CASE_METHOD(virtual_time, "task group: spawning into a group that aborts is refused, to body and children",
                 "[TG-28][TG-50][TRAP-17]") {
  run([&] {
    auto const why = [](exception_group const& errors) { return how([&] { throw errors; }); };
    try {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          sleep_for(1s);
          fail("first");
        });
        group.spawn([&] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            group.spawn([object = counted()] { fail("not reached"); });
          }
        });
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
        }
        seen(how([&] { group.spawn([object = counted()] { fail("not reached"); }); }));
        seen(std::to_string(counted::alive));
      });
    } catch (exception_group const& errors) {
      seen(errors.contains<fibers::invalid_state_error>() ? "the child's attempt" : why(errors));
      seen(std::to_string(errors.exceptions().size()));
    }
  });
  CAPTURE(seen);
  CHECK(seen.contains("failed: fibers: spawn() in a task group that is going down"));
  CHECK(seen.contains("0@1, the child's attempt@1, 2@1"));
}

TEST_CASE_METHOD(virtual_time, "task group: a child that swallows its cancel and returns adds no error", "[TG-43]") {
  run([&] {
    task_handle<int> stubborn;
    seen(how([&] {
      with_task_group([&](task_group& group) {
        stubborn = group.spawn([] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
          }
          return 5;
        });
        group.spawn([] {
          sleep_for(1s);
          fail("no");
        });
      });
    }));
    seen(how([&] { return stubborn.get(); }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@1, returned 5@1");
}

TEST_CASE_METHOD(virtual_time, "task group: errors of clean-up join the first one", "[TG-09]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        for (int i = 1; i <= 2; ++i) {
          group.spawn([i] {
            try {
              sleep_for(9s);
            } catch (cancelled_error const&) {
              sleep_for(std::chrono::seconds(3 - i));
              fail("clean-up " + std::to_string(i));
            }
          });
        }
        group.spawn([] { fail("first"); });
      });
    }));
  });
  CHECK(seen == "failed: task group (3 exceptions: first; clean-up 2; clean-up 1)@2");
}

TEST_CASE_METHOD(virtual_time, "task group: anything thrown is an error, also if not derived from std::exception",
                 "[TG-22][EG-01]") {
  run([&] {
    try {
      with_task_group([](task_group& group) {
        group.spawn([] { throw 5; });
        fail("body");
      });
    } catch (exception_group const& errors) {
      seen(how([&] { throw errors; }));
    }
    try {
      with_task_group([](task_group& group) {
        group.spawn([] { throw 5; });
        sleep_for(1s);
      });
    } catch (exception_group const& errors) {
      seen(errors.contains<int>() ? "an int" : "no int");
    }
  });
  CHECK(seen == "failed: task group (1 exception: body)@0, an int@0");
}
