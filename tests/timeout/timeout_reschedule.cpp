// SPDX-License-Identifier: BSL-1.0

// Deadlines that are moved while the block runs.

#include <fibers/timeout.hpp>
#include <string>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::timeout_scope;
using fibers::with_timeout;
using fibers::testing::at;
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::expired;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(virtual_time, "reschedule: moves the deadline later or earlier", "[TO-18]") {
  auto const moved = [&](auto move) {
    return [&, move] {
      with_timeout(5s, [&](timeout_scope& scope) {
        sleep_for(1s);
        move(scope);
        sleep_for(fibers::no_timeout);
      });
    };
  };
  run([&] {
    seen(ends(moved([](timeout_scope& scope) { scope.reschedule(at(7s)); })));
    seen(ends(moved([](timeout_scope& scope) { scope.reschedule(at(9s)); })));
    seen(ends(moved([](timeout_scope& scope) { scope.reschedule_after(1s); })));
    seen(ends(moved([](timeout_scope& scope) {
      for (int i = 0; i != 3; ++i) {
        scope.reschedule_after(2s);
        sleep_for(1s);
      }
    })));
  });
  CHECK(seen == "timed out@7, timed out@9, timed out@11, timed out@16");
}

TEST_CASE_METHOD(virtual_time, "reschedule: no_timeout disables it, and a later deadline enables it again", "[TO-18]") {
  run([&] {
    auto const child = spawn([&] {
      seen(ends([&] {
        with_timeout(1s, [&](timeout_scope& scope) {
          at_exit const leaving{[&] { seen(expired(scope)); }};
          scope.reschedule(at(5s));
          seen(scope.when() == at(5s) ? "moved" : "not moved");
          scope.reschedule(fibers::no_timeout);
          seen(scope.when() == fibers::no_timeout ? "off" : "on");
          sleep_for(9s);
        });
      }));
    });
    sleep_for(7s);
    child.cancel("enough");
    child.wait();
    seen(ends([] {
      with_timeout(fibers::no_timeout, [](timeout_scope& scope) {
        sleep_for(1s);
        scope.reschedule_after(fibers::no_timeout);
        scope.reschedule_after(1s);
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "moved@0, off@0, not expired@7, cancelled: enough, asked 1@7, timed out@9");
}

TEST_CASE_METHOD(virtual_time, "reschedule: to a past time ends the next wait", "[TO-19]") {
  auto const past = [&](fibers::time_point when) {
    return [&, when] {
      with_timeout(9s, [&](timeout_scope& scope) {
        sleep_for(1s);
        scope.reschedule(when);
        seen(expired(scope));
        this_task::yield();
        seen("not reached");
      });
    };
  };
  run([&] {
    seen(ends(past(at(1s))));
    seen(ends(past(at(0s))));
    seen(ends(past(fibers::time_point::min())));
    seen(ends([] {
      with_timeout(9s, [](timeout_scope& scope) { scope.reschedule_after(-1s); });  // nothing waits
    }));
  });
  CHECK(seen == "not expired@1, timed out@1, not expired@2, timed out@2, not expired@3, timed out@3, returned@3");
}

TEST_CASE_METHOD(virtual_time, "reschedule: another task may move the deadline while this one waits") {
  run([&] {
    seen(ends([&] {
      with_timeout(2s, [&](timeout_scope& scope) {
        auto const watchdog = spawn([&] {
          for (int i = 0; i != 3; ++i) {
            sleep_for(1s);
            scope.reschedule_after(2s);
          }
        });
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "timed out@5");
}

TEST_CASE_METHOD(virtual_time, "reschedule: of an expired timeout is refused, and changes nothing", "[TO-24]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&](timeout_scope& scope) {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          seen(how([&] { scope.reschedule(at(9s)); }));
          seen(how([&] { scope.reschedule_after(1s); }).substr(0, 7));
          seen(scope.when() == at(1s) ? expired(scope) : "moved");
          throw;
        }
      });
    }));
  });
  CHECK(seen ==
        "failed: fibers: this timeout has expired; reschedule() it before its deadline@1, failed:@1, expired@1, "
        "timed out@1");
}
