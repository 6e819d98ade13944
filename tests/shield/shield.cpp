// SPDX-License-Identifier: BSL-1.0

// with_shield() keeps requests from outside pending until it ends; requests made inside work as usual.

#include <fibers/shield.hpp>
#include <fibers/task_group.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::move_on_after;
using fibers::sleep_for;
using fibers::spawn;
using fibers::timeout_scope;
using fibers::with_shield;
using fibers::with_timeout;
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// Runs `body` as a task that is cancelled after the given time, and waits for it.
template <class F>
void cancel_after(fibers::duration time, F body) {
  auto const task = spawn(body);
  sleep_for(time);
  task.cancel("enough");
  task.wait();
}

}  // namespace

// --- requests from outside ---

TEST_CASE_METHOD(virtual_time, "shield: a request that arrives inside stays pending until it ends") {
  run([&] {
    cancel_after(1s, [&] {
      seen(ends([&] {
        with_shield([&] {
          sleep_for(2s);
          sleep_for(1s);
          seen("all of it");
        });
        seen("goes on");
        this_task::checkpoint();
      }));
    });
  });
  CHECK(seen == "all of it@3, goes on@3, cancelled: enough, asked 1@3");
}

TEST_CASE_METHOD(virtual_time, "shield: a request that arrived before does not interrupt it either") {
  run([&] {
    auto const child = spawn([&] {
      this_task::cancel("before");
      seen(ends([&] {
        with_shield([&] {
          seen(ends([] { this_task::checkpoint(); }));
          sleep_for(2s);
          spawn([] { sleep_for(1s); }).get();
        });
        seen("goes on");
        sleep_for(9s);
      }));
    });
    child.wait();
  });
  CHECK(seen == "returned, asked 1@0, goes on@3, cancelled: before, asked 1@3");
}

TEST_CASE_METHOD(virtual_time, "shield: a request that arrives after it is delivered at once") {
  run([&] {
    cancel_after(1s, [&] {
      with_shield([] { this_task::yield(); });
      seen(ends([] { sleep_for(9s); }));
    });
  });
  CHECK(seen == "cancelled: enough, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "shield: does not suspend and delivers nothing by itself") {
  run([&] {
    auto const child = spawn([&] {
      this_task::cancel("before");
      seen(ends([] { return with_shield([] { return 5; }); }));
    });
    child.wait();
    seen(child.cancelled() ? "cancelled" : "not cancelled");
  });
  CHECK(seen == "returned 5, asked 1@0, cancelled@0");
}

TEST_CASE_METHOD(virtual_time, "shield: a task that waits in it for another forwards nothing") {
  run([&] {
    auto inner = spawn([] { sleep_for(3s); });
    cancel_after(1s, [&] {
      with_shield([&] { inner.handle().get(); });
      seen(ends([] { this_task::checkpoint(); }));
    });
    seen(ends([&] { inner.get(); }));
  });
  CHECK(seen == "cancelled: enough, asked 1@3, returned@3");
}

TEST_CASE_METHOD(virtual_time, "shield: several requests in it are thrown as one after it") {
  run([&] {
    auto const child = spawn([&] {
      with_shield([] { sleep_for(3s); });
      seen(ends([] { sleep_for(9s); }));
      seen(ends([] { sleep_for(1s); }));
    });
    sleep_for(1s);
    child.cancel("first");
    sleep_for(1s);
    child.cancel("second");
    seen(std::to_string(child.cancelling()));
    child.wait();
  });
  CHECK(seen == "2@2, cancelled: second, asked 2@3, returned, asked 2@4");
}

TEST_CASE_METHOD(virtual_time, "shield: a task that cancels itself in it continues to its end") {
  run([&] {
    auto const child = spawn([&] {
      seen(ends([&] {
        with_shield([&] {
          this_task::cancel("myself");
          sleep_for(1s);
          seen("goes on");
        });
        this_task::yield();
      }));
    });
    child.wait();
  });
  CHECK(seen == "goes on@1, cancelled: myself, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "shield: a request can be withdrawn in it, and is not thrown then") {
  run([&] {
    cancel_after(1s, [&] {
      with_shield([] {
        sleep_for(2s);
        this_task::uncancel();
      });
      seen(ends([] { sleep_for(1s); }));
    });
  });
  CHECK(seen == "returned@3");
}

TEST_CASE_METHOD(virtual_time, "shield: nested shields keep requests pending until the outermost ends") {
  run([&] {
    cancel_after(1s, [&] {
      seen(ends([&] {
        with_shield([&] {
          with_shield([] { sleep_for(2s); });
          seen("between");
          sleep_for(2s);
          with_shield([] { sleep_for(2s); });
          seen("last");
        });
        this_task::checkpoint();
      }));
    });
  });
  CHECK(seen == "between@2, last@6, cancelled: enough, asked 1@6");
}

TEST_CASE_METHOD(virtual_time,
                 "shield: two in a row in clean-up are both carried out, but the code between is interrupted",
                 "[TRAP-12]") {
  bool const again = GENERATE(false, true);
  run([&] {
    auto const child = spawn([&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const&) {
        with_shield([&] {
          sleep_for(2s);
          seen("first");
        });
        with_shield([&] {
          sleep_for(2s);
          seen("second");
        });
        seen(ends([] { sleep_for(1s); }));
        throw;
      }
    });
    sleep_for(1s);
    child.cancel("enough");
    sleep_for(1s);
    if (again) child.cancel("at last");
    child.wait();
    seen(child.cancelled() ? "cancelled" : "not cancelled");
  });
  CHECK(seen == (again ? "first@3, second@5, cancelled: at last, asked 2@5, cancelled@5"
                       : "first@3, second@5, returned, asked 1@6, cancelled@6"));
}

// --- results and errors ---

TEST_CASE_METHOD(virtual_time, "shield: returns what its body returns") {
  int number = 0;
  run([&] {
    seen(&with_shield([&]() -> int& { return number; }) == &number ? "the same" : "another");
    seen(std::to_string(*with_shield([] { return std::make_unique<int>(5); })));
    seen(std::to_string(*with_shield(1s, [] { return std::make_unique<int>(6); })));
    seen(ends([] { with_shield([] { throw std::runtime_error("no"); }); }));
    seen(ends([] { with_shield([] { throw cancelled_error("by itself"); }); }));
  });
  CHECK(seen == "the same@0, 5@0, 6@0, failed: no@0, cancelled: by itself@0");
}

TEST_CASE_METHOD(virtual_time, "shield: ends also when its body fails") {
  run([&] {
    cancel_after(1s, [&] {
      seen(ends([] {
        with_shield([] {
          sleep_for(2s);
          throw std::runtime_error("no");
        });
      }));
      seen(ends([] { this_task::checkpoint(); }));
    });
  });
  CHECK(seen == "failed: no, asked 1@2, cancelled: enough, asked 1@2");
}

TEST_CASE("shield: outside a task it says that it needs one") {
  bool called = false;
  CHECK_THROWS_AS(with_shield([&] { called = true; }), fibers::invalid_state_error);
  CHECK_THROWS_AS(with_shield(1s, [&] { called = true; }), fibers::invalid_state_error);
  CHECK_FALSE(called);
}

// --- time limits ---

TEST_CASE_METHOD(virtual_time, "shield: a limit of its own ends its body") {
  run([&] {
    seen(ends([] { with_shield(1s, [] { sleep_for(9s); }); }));
    seen(ends([] { with_shield(0s, [] { this_task::yield(); }); }));
    seen(ends([] { with_shield(fibers::no_timeout, [] { sleep_for(9s); }); }));
    seen(ends([&] {
      with_shield(1s, [&](timeout_scope& scope) {
        scope.reschedule_after(3s);
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "timed out@1, timed out@1, returned@10, timed out@13");
}

TEST_CASE_METHOD(virtual_time, "shield: its limit counts also while a request is pending outside") {
  bool const before = GENERATE(true, false);
  run([&] {
    auto const child = spawn([&] {
      if (before) this_task::cancel("waits");
      seen(ends([] { with_shield(2s, [] { sleep_for(9s); }); }));
      seen(ends([] { this_task::checkpoint(); }));
    });
    sleep_for(1s);
    if (!before) child.cancel("waits");
    child.wait();
  });
  CHECK(seen == "timed out, asked 1@2, cancelled: waits, asked 1@2");
}

TEST_CASE_METHOD(virtual_time, "shield: a timeout inside works, and withdraws only its own request") {
  run([&] {
    cancel_after(1s, [&] {
      seen(ends([&] {
        with_shield([&] {
          seen(ends([] { with_timeout(2s, [] { sleep_for(9s); }); }));
          seen(ends([] { return move_on_after(1s, [] { sleep_for(9s); }); }));
        });
        this_task::checkpoint();
      }));
    });
  });
  CHECK(seen == "timed out, asked 1@2, returned 0, asked 1@3, cancelled: enough, asked 1@3");
}

TEST_CASE_METHOD(virtual_time, "shield: a timeout around it waits for its end") {
  bool const waits_afterwards = GENERATE(true, false);
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&](timeout_scope& scope) {
        at_exit const leaving{[&] { seen(scope.expired() ? "expired" : "not expired"); }};
        with_shield([] { sleep_for(3s); });
        if (waits_afterwards) sleep_for(9s);
      });
    }));
    seen(ends([] { sleep_for(1s); }));
  });
  CHECK(seen == (waits_afterwards ? "expired@3, timed out@3, returned@4" : "expired@3, returned@3, returned@4"));
}

TEST_CASE_METHOD(virtual_time, "shield: in a timeout in a shield in a timeout each limit is independent") {
  auto const inner = GENERATE(fibers::duration(1s), fibers::duration(3s));
  run([&] {
    seen(ends([&] {
      with_timeout(2s, [&] {
        with_shield([&] { seen(ends([&] { with_timeout(inner, [] { sleep_for(9s); }); })); });
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == (inner == 1s ? "timed out@1, timed out@2" : "timed out, asked 1@3, timed out@3"));
}

TEST_CASE_METHOD(virtual_time,
                 "shield: the text of a timeout around it names where the task was when the time was up") {
  std::string text;
  int line = 0;
  run([&] {
    try {
      with_timeout(1s, [&] {
        with_shield([&] {
          line = __LINE__ + 1;
          sleep_for(3s);
        });
        sleep_for(9s);
      });
    } catch (fibers::timeout_error const& error) {
      text = error.what();
    }
  });
  CHECK_THAT(text, ContainsSubstring("while waiting at shield.cpp:" + std::to_string(line) + " ("));
}

// --- task groups ---

TEST_CASE_METHOD(virtual_time, "shield: a group inside is not affected by a request, and works as usual") {
  run([&] {
    cancel_after(1s, [&] {
      seen(ends([&] {
             with_shield([&] {
               fibers::with_task_group(
                   [&](fibers::task_group& group) { group.spawn([&] { seen(ends([] { sleep_for(2s); })); }); });
               fibers::with_task_group([&](fibers::task_group& group) {
                 group.spawn([] {
                   sleep_for(1s);
                   throw std::runtime_error("no");
                 });
                 seen(ends([] { sleep_for(9s); }));  // the group cancels it
               });
             });
           }).substr(0, 18));
      seen(ends([] { this_task::checkpoint(); }));
    });
  });
  CHECK(seen == "returned@2, cancelled, asked 2@3, failed: task group@3, cancelled: enough, asked 1@3");
}

TEST_CASE_METHOD(virtual_time, "shield: in a group's body it delays the group's request") {
  run([&] {
    seen(ends([&] {
           fibers::with_task_group([&](fibers::task_group& group) {
             group.spawn([] {
               sleep_for(1s);
               throw std::runtime_error("no");
             });
             with_shield([&] {
               sleep_for(3s);
               seen("all of it");
             });
             sleep_for(9s);
           });
         }).substr(0, 18));
    seen(ends([] { sleep_for(1s); }));
  });
  CHECK(seen == "all of it@3, failed: task group@3, returned@4");
}
