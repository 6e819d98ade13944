// SPDX-License-Identifier: BSL-1.0

// Nested blocks with time limits, also around and inside task groups: which deadline ended the block.

#include <fibers/task_group.hpp>
#include <fibers/timeout.hpp>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::move_on_after;
using fibers::sleep_for;
using fibers::spawn;
using fibers::timeout_error;
using fibers::timeout_scope;
using fibers::with_timeout;
using fibers::with_timeout_at;
using fibers::testing::at;
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::expired;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

// --- nested ---

TEST_CASE_METHOD(virtual_time, "nested timeouts: with one deadline, the outer one times out, and both have expired",
                 "[TO-04]") {
  run([&] {
    seen(ends([&] {
      with_timeout_at(at(1s), [&](timeout_scope& outer) {
        seen(ends([&] {
          with_timeout_at(at(1s), [&](timeout_scope& inner) {
            at_exit const leaving{[&] { seen(expired(inner) + ", " + expired(outer)); }};
            sleep_for(9s);
          });
        }));
        sleep_for(3s);  // the request was swallowed above
      });
    }));
    seen(ends([&] { with_timeout(1s, [&] { with_timeout(1s, [&] { with_timeout(1s, [] { sleep_for(9s); }); }); }); }));
  });
  CHECK(seen == "expired, expired@1, cancelled, asked 1@1, returned@4, timed out@5");
}

TEST_CASE_METHOD(virtual_time, "nested timeouts: the inner one expires first, and the outer one later") {
  run([&] {
    seen(ends([&] {
      with_timeout(3s, [&] {
        seen(ends([] { with_timeout(1s, [] { sleep_for(9s); }); }));
        seen(ends([] { return move_on_after(1s, [] { sleep_for(9s); }); }));
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "timed out@1, returned 0@2, timed out@3");
}

TEST_CASE_METHOD(virtual_time, "nested timeouts: if the outer one expires first, the inner one does not convert it",
                 "[TO-16]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&] {
        try {
          with_timeout(2s, [&](timeout_scope& inner) {
            at_exit const leaving{[&] { seen(expired(inner)); }};
            sleep_for(9s);
          });
        } catch (cancelled_error const&) {
          seen("cancelled");
          throw;
        }
      });
    }));
  });
  CHECK(seen == "not expired@1, cancelled@1, timed out@1");
}

TEST_CASE_METHOD(virtual_time, "nested timeouts: both deadlines may pass during clean-up", "[TO-17]") {
  run([&] {
    seen(ends([&] {
      with_timeout(2s, [&] {
        move_on_after(1s, [&](timeout_scope& inner) {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            seen(ends([] { sleep_for(9s); }));  // the outer timeout ends it
            seen(expired(inner));
            throw;
          }
        });
        seen("not reached");
      });
    }));
  });
  CHECK(seen == "cancelled, asked 2@2, expired@2, timed out@2");
}

TEST_CASE_METHOD(virtual_time, "nested timeouts: the outer one's request is not lost in an inner block that returns") {
  run([&] {
    seen(ends([&] {
      with_timeout(9s, [&](timeout_scope& outer) {
        with_timeout(9s, [&](timeout_scope& inner) {
          auto const helper = spawn([&] { outer.reschedule(at(1s)); });
          sleep_for(1s);  // ends at the same moment, before the deadline
          seen(expired(inner) + ", " + expired(outer));
          return 5;
        });
        seen("goes on");
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "not expired, expired@1, goes on@1, timed out@1");
}

TEST_CASE_METHOD(virtual_time, "nested timeouts: one in clean-up works by itself, then the outer one's error is thrown",
                 "[TO-20]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          try {
            with_timeout(2s, [] { sleep_for(9s); });
          } catch (timeout_error const&) {
            seen("inner, asked " + std::to_string(this_task::cancelling()));
          }
          throw;
        }
      });
    }));
  });
  CHECK(seen == "inner, asked 1@3, timed out@3");
}

TEST_CASE_METHOD(virtual_time, "nested timeouts: an unhandled inner error is the outer block's too") {
  run([&] {
    seen(ends([&] {
      with_timeout(9s, [&](timeout_scope& outer) {
        at_exit const leaving{[&] { seen(expired(outer)); }};
        with_timeout(1s, [] { sleep_for(9s); });
      });
    }));
    seen(ends([] { return move_on_after(9s, [] { with_timeout(1s, [] { sleep_for(9s); }); }); }));
  });
  CHECK(seen == "not expired@1, timed out@1, timed out@2");
}

// --- task groups ---

TEST_CASE_METHOD(virtual_time, "timeout: around a task group it ends the children, then times out", "[TO-28]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&] {
        fibers::with_task_group([&](fibers::task_group& group) {
          group.spawn([&] {
            at_exit const leaving{[&] { seen("child"); }};
            sleep_for(9s);
          });
        });
      });
    }));
    seen(ends([] { with_timeout(1s, [] { fibers::with_task_group([](auto&) { sleep_for(9s); }); }); }));
  });
  CHECK(seen == "child@1, timed out@1, timed out@2");
}

TEST_CASE_METHOD(virtual_time, "timeout: around a task group whose child fails meanwhile, the errors are thrown",
                 "[TO-27][TO-30]") {
  run([&] {
    seen(ends([&] {
           with_timeout(1s, [&](timeout_scope& scope) {
             at_exit const leaving{[&] { seen(expired(scope)); }};
             fibers::with_task_group([](fibers::task_group& group) {
               group.spawn([] {
                 try {
                   sleep_for(9s);
                 } catch (cancelled_error const&) {
                   throw std::runtime_error("no");
                 }
               });
             });
           });
         }).substr(0, 18));
    seen(std::to_string(this_task::cancelling()));
    seen(ends([] { sleep_for(1s); }));
  });
  CHECK(seen == "expired@1, failed: task group@1, 0@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "timeout: in a child of a task group it affects that child alone", "[TO-30]") {
  run([&] {
    seen(ends([&] {
      fibers::with_task_group([&](fibers::task_group& group) {
        group.spawn([&] { seen(ends([] { with_timeout(1s, [] { sleep_for(9s); }); })); });
        group.spawn([&] { seen(ends([] { sleep_for(2s); })); });
        seen(ends([] { return move_on_after(500ms, [] { sleep_for(9s); }); }));
      });
    }));
  });
  CHECK(seen == "returned 0@0.5, timed out@1, returned@2, returned@2");
}

TEST_CASE_METHOD(virtual_time, "timeout: in a group's body it is no failure of the group if it is handled there") {
  run([&] {
    seen(ends([&] {
      return move_on_after(3s, [&] {
        fibers::with_task_group([&](fibers::task_group& group) {
          group.spawn([] { sleep_for(9s); });
          seen(ends([] { with_timeout(1s, [] { sleep_for(9s); }); }));
          seen(std::to_string(group.size()) + " left");
        });
      });
    }));
  });
  CHECK(seen == "timed out@1, 1 left@1, returned 0@3");
}
