// SPDX-License-Identifier: BSL-1.0

// A group in bad times: what fails, who is cancelled for it, and what comes out.

#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <memory>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::exception_group;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_group;
using fibers::task_handle;
using fibers::with_task_group;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

struct refusal : std::runtime_error {
  using runtime_error::runtime_error;
};

[[noreturn]] void fail(std::string const& text) { throw refusal(text); }

std::string count() { return std::to_string(this_task::cancelling()); }

}  // namespace

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

TEST_CASE_METHOD(virtual_time, "task group: all that failed before they could be cancelled come out, in their order",
                 "[TG-06]") {
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
  // At that instant all three had slept enough: a wait that is over wins over the request that comes after.
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
    seen(how([&] { late.get(); }));  // so it can be told that its work was not done
  });
  CHECK(seen == "failed: task group (1 exception: no)@0, returned 1@0, cancelled@0");
}

TEST_CASE_METHOD(virtual_time, "task group: a child's child in the same group fails at once: its spawner is cancelled",
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

TEST_CASE_METHOD(virtual_time, "task group: spawning into one that is going down is refused, to body and children",
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

TEST_CASE_METHOD(virtual_time, "task group: anything thrown is an error, no std::exception needed", "[TG-22][EG-01]") {
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

// --- the body fails ---

TEST_CASE_METHOD(virtual_time, "task group: a body that throws cancels the children, and comes out in the group",
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

TEST_CASE_METHOD(virtual_time, "task group: a body that throws before a child has run: that never runs", "[TG-11]") {
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

TEST_CASE_METHOD(virtual_time, "task group: a body that throws without children still gives a group", "[TG-45]") {
  run([&] { seen(how([] { with_task_group([](task_group&) { fail("body"); }); })); });
  CHECK(seen == "failed: task group (1 exception: body)@0");
}

TEST_CASE_METHOD(virtual_time, "task group: the body's error stands behind the children's",
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

TEST_CASE_METHOD(virtual_time, "task group: children's clean-up errors stand before the body's error that caused them",
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

TEST_CASE_METHOD(virtual_time, "task group: a body that waits for a child that fails: the error comes out once",
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

TEST_CASE_METHOD(virtual_time, "task group: a child that waits for one that fails: the error comes out once") {
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
        this_task::yield();  // the child fails, and the request comes with that yield
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@0, 0@0, returned@1");
}

TEST_CASE_METHOD(virtual_time, "task group: an error is fetched by the group, also when the handle has seen it too") {
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

TEST_CASE_METHOD(virtual_time, "task group: afterwards nobody keeps the exceptions but who caught them", "[TG-39]") {
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

TEST_CASE_METHOD(virtual_time, "task group: a failure inside comes out of the outer group as a group in it",
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

TEST_CASE_METHOD(virtual_time, "task group: inner and outer fail together: the inner can be handled, the outer goes on",
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

TEST_CASE_METHOD(virtual_time, "task group: a group in a child fails: its siblings go, and the nesting shows") {
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

// --- what can never end ---

TEST_CASE_METHOD(virtual_time,
                 "task group: a deadlock of its owner comes out bare, once the children have been ended") {
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
        bool const names = std::string(error.what()).find("'stuck' waits at task_group_error.cpp") != std::string::npos;
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
