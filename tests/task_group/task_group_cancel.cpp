// SPDX-License-Identifier: BSL-1.0

// A group whose owner is cancelled, at each of its waits; children that do not end at once.

#include <fibers/shield.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>

#include "catch.hpp"
#include "groups.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_group;
using fibers::with_task_group;
using fibers::with_timeout;
using fibers::testing::count;
using fibers::testing::fail;
using fibers::testing::how;
using fibers::testing::slow_to_end;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

// --- the owner is cancelled ---

TEST_CASE_METHOD(virtual_time, "task group: if cancelled at its end, it cancels the children and waits for them",
                 "[TG-07]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        for (auto const clean_up : {1s, 2s}) {
          group.spawn([&, clean_up] {
            seen(how([&] { slow_to_end(clean_up); }));
            throw cancelled_error();
          });
        }
      });
    });
    sleep_for(1s);
    owner.cancel("enough");
    seen(how([&] { owner.get(); }));
    seen(std::to_string(owner.cancelling()));
  });
  CHECK(seen == "cancelled@2, cancelled@3, cancelled: enough@3, 1@3");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: if cancelled in its body, the handler runs first, then the children are cancelled",
                 "[TG-08]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            seen("child");
            throw;
          }
        });
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          sleep_for(1s);
          seen("body");
          throw;
        }
      });
    });
    sleep_for(1s);
    owner.cancel("enough");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "body@2, child@2, cancelled: enough@2");
}

TEST_CASE_METHOD(virtual_time, "task group: if cancelled without children, it propagates the cancellation", "[TG-17]") {
  run([&] {
    auto owner = spawn([] { with_task_group([](task_group&) { sleep_for(9s); }); });
    sleep_for(1s);
    owner.cancel("enough");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "cancelled: enough@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a request pending at its end cancels children that have not begun",
                 "[TASK-37]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] { seen("not reached"); });
        this_task::cancel("myself");
      });
    });
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "cancelled: myself@0");
}

TEST_CASE_METHOD(virtual_time, "task group: if cancelled, and clean-up of children fails, the errors are thrown",
                 "[TG-09][TRAP-14]") {
  run([&] {
    auto owner = spawn([&] {
      seen(how([&] {
        with_task_group([&](task_group& group) {
          for (char const* const name : {"one", "two"}) {
            group.spawn([name] {
              try {
                sleep_for(9s);
              } catch (cancelled_error const&) {
                fail(name);
              }
            });
          }
          sleep_for(9s);
        });
      }));
      seen(count());
      seen(how([] { sleep_for(9s); }));  // the request is not lost behind the errors
      seen(how([] { sleep_for(1s); }));
    });
    sleep_for(1s);
    owner.cancel("enough");
    owner.wait();
  });
  CHECK(seen == "failed: task group (2 exceptions: one; two)@1, 1@1, cancelled@1, returned@2");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: if a nested group is cancelled and inner clean-up fails, a group in a group is thrown",
                 "[TG-12]") {
  bool const outer_child = GENERATE(false, true);
  CAPTURE(outer_child);
  run([&] {
    auto owner = spawn([&] {
      seen(how([&] {
        with_task_group([&](task_group& outer) {
          if (outer_child) outer.spawn([] { sleep_for(9s); });
          with_task_group([&](task_group& inner) {
            inner.spawn([] {
              try {
                sleep_for(9s);
              } catch (cancelled_error const&) {
                fail("inner");
              }
            });
          });
        });
      }));
      this_task::yield();
    });
    sleep_for(1s);
    owner.cancel("enough");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "failed: task group (1 exception: task group (1 exception: inner))@1, cancelled@1");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: if cancelled, and a child fails while the body cleans up, its error is thrown",
                 "[TG-15][TG-16][TASK-36]") {
  bool const one_further_in = GENERATE(false, true);
  CAPTURE(one_further_in);
  run([&] {
    auto const work = [&] {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          sleep_for(2s);
          fail("child");
        });
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          sleep_for(5s);  // the child's failure ends this sleep
          seen("not reached");
        }
      });
    };
    auto owner = spawn([&] {
      if (one_further_in) {
        auto inner = spawn(work);
        inner.get();
      } else {
        work();
      }
    });
    sleep_for(1s);
    owner.cancel("enough");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "failed: task group (1 exception: child)@2");
}

TEST_CASE_METHOD(virtual_time, "task group: a body that turns a cancellation into an error has an error", "[TG-18]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([](task_group&) {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          fail("turned");
        }
      });
    });
    sleep_for(1s);
    owner.cancel();
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "failed: task group (1 exception: turned)@1");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: a cancel from outside while it aborts for a failure follows at the next wait",
                 "[TG-37]") {
  run([&] {
    auto owner = spawn([&] {
      seen(how([&] {
        with_task_group([&](task_group& group) {
          group.spawn([] {
            this_task::yield();
            fail("no");
          });
          group.spawn([] { slow_to_end(2s); });
        });
      }));
      seen(count());
      sleep_for(9s);
    });
    sleep_for(1s);
    owner.cancel("out");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@2, 1@2, cancelled@2");
}

TEST_CASE_METHOD(virtual_time, "task group: a second cancel at its end does not reach the children again", "[TG-44]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          seen(how([&] { slow_to_end(5s); }));
          throw cancelled_error();
        });
      });
    });
    sleep_for(1s);
    owner.cancel("first");
    sleep_for(1s);
    owner.cancel("second");
    seen(how([&] { owner.get(); }));
    seen(std::to_string(owner.cancelling()));
  });
  CHECK(seen == "cancelled@6, cancelled: first@6, 2@6");
}

TEST_CASE_METHOD(virtual_time, "task group: if the children end and the cancel arrives at one instant, both count") {
  run([&] {
    auto owner = spawn([&] {
      seen(how([] { with_task_group([](task_group& group) { group.spawn([] { sleep_for(1s); }); }); }));
      seen(count());
      sleep_for(9s);
    });
    auto const canceller = spawn([&] {
      sleep_for(1s);
      this_task::yield();  // the child has ended, the owner is ready and has not run
      owner.cancel("late");
    });
    seen(how([&] { owner.get(); }));
  });
  // The group had ended by then, so the request stays pending until the next suspension point.
  CHECK(seen == "returned@1, 1@1, cancelled: late@1");
}

// --- time limits ---

TEST_CASE_METHOD(virtual_time,
                 "task group: a timeout around it ends its wait for children, and still waits for clean-up") {
  run([&] {
    seen(how([&] {
      fibers::move_on_after(1s, [&] {
        with_task_group([&](task_group& group) {
          group.spawn([&] {
            seen(how([] { slow_to_end(2s); }));
            throw cancelled_error();
          });
        });
        seen("not reached");
      });
    }));
    seen(count());
    seen(how([] { with_timeout(1s, [] { with_task_group([](task_group&) { sleep_for(9s); }); }); }).substr(0, 21));
    seen(count());
  });
  CHECK(seen == "cancelled@3, returned@3, 0@3, failed: timed out aft@4, 0@4");
}

TEST_CASE_METHOD(virtual_time, "task group: a timeout in the body affects the body alone") {
  run([&] {
    with_task_group([&](task_group& group) {
      group.spawn([&] {
        sleep_for(2s);
        seen("child");
      });
      seen(how([] { return fibers::move_on_after(1s, [] { sleep_for(9s); }); }));
    });
    seen(count());
  });
  CHECK(seen == "returned 0@1, child@2, 0@2");
}

TEST_CASE_METHOD(virtual_time,
                 "task group: with a timeout and errors of clean-up, the errors are thrown, and no request is left") {
  run([&] {
    seen(how([&] {
      with_timeout(1s, [&] {
        with_task_group([](task_group& group) {
          group.spawn([] {
            try {
              sleep_for(9s);
            } catch (cancelled_error const&) {
              fail("clean-up");
            }
          });
        });
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: task group (1 exception: clean-up)@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "task group: if the last child ends at the time limit, the group is in time") {
  run([&] {
    seen(how([] {
           with_timeout(1s, [] { with_task_group([](task_group& group) { group.spawn([] { sleep_for(1s); }); }); });
         }).substr(0, 17));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  // The limit expires before the child runs, so only the child was in time.
  CHECK(seen == "failed: timed out@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "task group: in a shield it cannot be cancelled from outside, but by its children") {
  run([&] {
    auto owner = spawn([&] {
      fibers::with_shield([&] {
        seen(how([&] {
          with_task_group([&](task_group& group) {
            group.spawn([] {
              sleep_for(3s);
              fail("no");
            });
            sleep_for(9s);
          });
        }));
      });
      sleep_for(9s);
    });
    sleep_for(1s);
    owner.cancel("out");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@3, cancelled: out@3");
}

// --- a child that waits for the owner passes nothing of the group's on to it ---

TEST_CASE_METHOD(virtual_time, "task group: a child that waits for the owner ends with the group") {
  run([&] {
    fibers::task<void> owner;
    owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          seen(how([&] { owner.handle().get(); }));
          throw cancelled_error();
        });
      });
    });
    sleep_for(1s);
    owner.cancel("enough");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "cancelled@1, cancelled: enough@1");
}

TEST_CASE_METHOD(virtual_time, "task group: a failure does not cancel the owner, though a child waits for it") {
  run([&] {
    fibers::task<void> owner;
    owner = spawn([&] {
      seen(how([&] {
        with_task_group([&](task_group& group) {
          group.spawn([&] { owner.handle().get(); });
          group.spawn([] {
            sleep_for(1s);
            fail("no");
          });
        });
      }));
      seen(count());
      sleep_for(1s);
    });
    sleep_for(1ms);
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "failed: task group (1 exception: no)@1, 0@1, returned@2");
}
