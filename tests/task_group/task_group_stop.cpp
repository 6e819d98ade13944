// SPDX-License-Identifier: BSL-1.0

// stop() ends a group early and without an error, but hides neither errors nor other cancellations.

#include <fibers/queue.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>

#include "catch.hpp"
#include "groups.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_group;
using fibers::with_task_group;
using fibers::testing::count;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::slow_to_end;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(virtual_time, "stop: cancels children and body, and the group ends without an error", "[TG-47]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          seen("child " + how([] { slow_to_end(1s); }));
          throw cancelled_error();
        });
        group.spawn([&] {
          sleep_for(1s);
          group.stop("found");
        });
        try {
          sleep_for(9s);
        } catch (cancelled_error const& error) {
          seen("body " + error.message());
          throw;
        }
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "body found@1, child cancelled: found@2, returned@2, 0@2, returned@3");
}

TEST_CASE_METHOD(virtual_time, "stop: a body that calls it continues to its next wait", "[TG-47]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] { sleep_for(9s); });
        sleep_for(1s);
        group.stop();
        seen("goes on");
        sleep_for(9s);
        seen("not reached");
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "goes on@1, returned@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "stop: a body without a further wait leaves no request behind", "[TG-47]") {
  bool const child = GENERATE(false, true);
  CAPTURE(child);
  run([&] {
    seen(how([&] {
      return with_task_group([&](task_group& group) {
        if (child) group.spawn([] { slow_to_end(0s); });
        group.stop();
        return 5;
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "returned 5@0, 0@0, returned@1");
}

TEST_CASE_METHOD(virtual_time, "stop: while the owner waits at the end, the body's result is kept", "[TG-47]") {
  run([&] {
    auto const result = with_task_group([&](task_group& group) {
      group.spawn([&] {
        sleep_for(1s);
        group.stop();
      });
      group.spawn([] { slow_to_end(1s); });
      return std::make_unique<int>(5);
    });
    seen(std::to_string(*result) + " " + count());
  });
  CHECK(seen == "5 0@2");
}

TEST_CASE_METHOD(virtual_time, "stop: an interrupted body yields a default result, or an error if its type has none") {
  struct no_default {
    explicit no_default(int) {}
  };
  run([&] {
    seen(how([] {
      return with_task_group([](task_group& group) {
        group.stop();
        this_task::yield();
        return 5;
      });
    }));
    seen(how([] {
      with_task_group([](task_group& group) {
        group.stop();
        this_task::yield();
        return no_default(5);
      });
    }));
    seen(count());
  });
  CHECK(seen ==
        "returned 0@0, failed: fibers: the task group was stopped before its body had a result to return@0, 0@0");
}

TEST_CASE_METHOD(virtual_time, "stop: a second call does nothing", "[TG-48]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          seen(how([] { slow_to_end(2s); }));
          throw cancelled_error();
        });
        sleep_for(1s);
        group.stop("first");
        group.stop("second");
        seen(count());
        seen(how([] { sleep_for(1s); }));
        group.stop("third");
        seen(how([] { sleep_for(1s); }));
      });
    }));
    seen(count());
  });
  CHECK(seen == "1@1, cancelled: first@1, returned@2, cancelled: first@3, returned@3, 0@3");
}

TEST_CASE_METHOD(virtual_time, "stop: a child spawned after it is cancelled before it begins", "[TG-48]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.stop();
        auto const child = group.spawn([&, object = counted()] { seen("not reached"); });
        seen(how([&] { sleep_for(9s); }));
        child.wait();
        seen(std::string(child.cancelled() ? "never begun, " : "") + std::to_string(counted::alive) + " left");
      });
    }));
  });
  CHECK(seen == "cancelled@0, never begun, 0 left@0, returned@0");
}

TEST_CASE_METHOD(virtual_time, "stop: errors of children and body are still thrown", "[TG-49]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            throw std::runtime_error("child");
          }
        });
        sleep_for(1s);
        group.stop();
        throw std::runtime_error("body");
      });
    }));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: task group (2 exceptions: child; body)@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "stop: a group that aborts for an error still throws", "[TG-49]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] { throw std::runtime_error("no"); });
        group.spawn([] { sleep_for(9s); });
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          group.stop();
          throw;
        }
      });
    }));
    seen(count());
  });
  CHECK(seen == "failed: task group (1 exception: no)@0, 0@0");
}

TEST_CASE_METHOD(virtual_time, "stop: a child that stops its own group before its first wait is cancelled itself",
                 "[TG-51][TRAP-18]") {
  run([&] {
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          group.stop("mine");
          seen(how([] { sleep_for(9s); }));
        });
        group.spawn([&] { seen("not reached"); });
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "cancelled: mine@0, returned@0");
}

TEST_CASE_METHOD(virtual_time, "stop: of an inner group lets the outer one continue") {
  run([&] {
    with_task_group([&](task_group& outer) {
      outer.spawn([&] {
        sleep_for(2s);
        seen("outer's child");
      });
      with_task_group([&](task_group& inner) {
        inner.spawn([&] {
          sleep_for(1s);
          inner.stop();
        });
        sleep_for(9s);
      });
      seen("outer's body " + count());
    });
  });
  CHECK(seen == "outer's body 0@1, outer's child@2");
}

TEST_CASE_METHOD(virtual_time, "stop: of an outer group from within an inner one ends both") {
  run([&] {
    with_task_group([&](task_group& outer) {
      with_task_group([&](task_group& inner) {
        inner.spawn([&] { seen(how([] { sleep_for(9s); })), throw cancelled_error(); });
        sleep_for(1s);
        outer.stop("both");
        sleep_for(9s);
      });
      seen("not reached");
    });
    seen("after " + count());
  });
  CHECK(seen == "cancelled@1, after 0@1");
}

// --- together with other requests ---

TEST_CASE_METHOD(virtual_time, "stop: a cancel from outside while the group ends is still thrown", "[TG-52][TRAP-19]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] { slow_to_end(5s); });
        sleep_for(1s);
        group.stop("found");
        sleep_for(9s);
      });
      seen("not reached");
    });
    sleep_for(2s);
    owner.cancel("out");
    seen(how([&] { owner.get(); }));
    seen(std::to_string(owner.cancelling()));
  });
  CHECK(seen == "cancelled: out@6, 1@6");
}

TEST_CASE_METHOD(virtual_time, "stop: a cancel from outside that the body swallows while the group ends is swallowed",
                 "[TG-52]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] { slow_to_end(0s); });
        group.stop("found");
        seen(how([] { sleep_for(9s); }));
        seen(how([] { sleep_for(9s); }));
      });
      seen(count());
    });
    sleep_for(2s);
    owner.cancel("out");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "cancelled: found@0, cancelled: out@2, 1@2, returned@2");
}

TEST_CASE_METHOD(virtual_time, "stop: a cancel from outside that the body swallowed before still ends the owner",
                 "[TG-52][TRAP-19]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        seen(how([] { sleep_for(9s); }));
        group.stop("found");
        sleep_for(9s);
      });
      seen("not reached");  // another party wants this task to end, as with an expired timeout
    });
    sleep_for(2s);
    owner.cancel("out");
    owner.wait();
    seen(std::to_string(owner.cancelled()) + " " + std::to_string(owner.cancelling()));
  });
  CHECK(seen == "cancelled: out@2, 1 1@2");
}

TEST_CASE_METHOD(virtual_time, "stop: called at the end of the group, it does not hide a later cancel from outside",
                 "[TG-52][TRAP-19]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          sleep_for(1s);
          group.stop("found");
        });
        group.spawn([] { slow_to_end(5s); });
      });
      seen("not reached");
    });
    sleep_for(2s);
    owner.cancel("out");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "cancelled: out@6");
}

TEST_CASE_METHOD(virtual_time, "stop: does not hide an earlier cancel from outside", "[TG-52]") {
  run([&] {
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        group.spawn([] { slow_to_end(5s); });
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          group.stop("found");
          throw;
        }
      });
      seen("not reached");
    });
    sleep_for(2s);
    owner.cancel("out");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "cancelled: out@7");
}

TEST_CASE_METHOD(virtual_time, "stop: does not hide a cancel from outside at the same instant", "[TG-52][TRAP-19]") {
  bool const stop_first = GENERATE(false, true);
  CAPTURE(stop_first);
  run([&] {
    task_group* shared = nullptr;
    auto owner = spawn([&] {
      with_task_group([&](task_group& group) {
        shared = &group;
        sleep_for(9s);
      });
      seen("not reached");
    });
    sleep_for(1s);
    if (stop_first) shared->stop("found");
    owner.cancel("out");
    if (!stop_first) shared->stop("found");
    seen(how([&] { owner.wait(); }));
    seen(std::to_string(owner.cancelled()) + " " + std::to_string(owner.cancelling()));
  });
  CHECK(seen == "returned@1, 1 1@1");
}

TEST_CASE_METHOD(virtual_time, "stop: a timeout that expires while the group ends is still thrown",
                 "[TG-52][TRAP-19]") {
  bool const in_body = GENERATE(false, true);
  CAPTURE(in_body);
  run([&] {
    seen(how([&] {
           fibers::with_timeout(3s, [&] {
             with_task_group([&](task_group& group) {
               group.spawn([&] {
                 sleep_for(1s);
                 group.stop();
               });
               group.spawn([] { slow_to_end(5s); });
               if (in_body) sleep_for(9s);
             });
           });
         }).substr(0, 17));
    seen(count());
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: timed out@6, 0@6, returned@7");
}

TEST_CASE_METHOD(virtual_time, "stop: an old swallowed request is not mistaken for a new one") {
  run([&] {
    auto owner = spawn([&] {
      seen(how([] { sleep_for(9s); }));
      seen(how([&] {
        with_task_group([&](task_group& group) {
          group.spawn([] { sleep_for(9s); });
          group.stop();
          sleep_for(9s);
        });
      }));
      seen(how([&] { with_task_group([&](task_group& group) { group.stop(); }); }));
      seen(how([] { sleep_for(1s); }));
      seen(count());
    });
    sleep_for(1s);
    owner.cancel("old");
    seen(how([&] { owner.get(); }));
  });
  CHECK(seen == "cancelled: old@1, returned@1, returned@1, returned@2, 1@2, returned@2");
}

TEST_CASE_METHOD(virtual_time,
                 "stop: a child spawned by a task that was handed its item is accepted without an error") {
  run([&] {
    fibers::queue<int> arrivals;
    seen(how([&] {
      with_task_group([&](task_group& group) {
        group.spawn([&] {
          for (;;) {
            int const connection = arrivals.get();
            group.spawn([&, connection, object = counted()] { seen("handled " + std::to_string(connection)); });
          }
        });
        sleep_for(1s);
        arrivals.put(1);
        group.stop();
      });
    }));
    seen(std::to_string(counted::alive) + " left");
  });
  CHECK(seen == "returned@1, 0 left@1");
}

TEST_CASE_METHOD(virtual_time, "stop: once a child has failed, the group refuses further ones") {
  run([&] {
    seen(how([&] {
           with_task_group([&](task_group& group) {
             group.spawn([] {
               try {
                 sleep_for(9s);
               } catch (cancelled_error const&) {
                 throw std::runtime_error("no");
               }
             });
             group.spawn([&] {
               how([] { sleep_for(9s); });
               sleep_for(1s);
               seen(how([&] { group.spawn([] {}); }).substr(0, 53));
             });
             this_task::yield();
             group.stop();
           });
         }).substr(0, 18));
  });
  CHECK(seen == "failed: fibers: spawn() in a task group that is going@1, failed: task group@1");
}
