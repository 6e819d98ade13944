// SPDX-License-Identifier: BSL-1.0

// Blocks with time limits, and cancellation requests from outside: before, inside, at the same moment, and swallowed
// long ago.

#include <fibers/timeout.hpp>
#include <optional>
#include <string>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::move_on_after;
using fibers::sleep_for;
using fibers::spawn;
using fibers::timeout_scope;
using fibers::with_timeout;
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::expired;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// Swallows one cancellation and keeps its count, like careless code.
void swallow_a_request() {
  this_task::cancel("swallowed");
  try {
    this_task::checkpoint();
  } catch (cancelled_error const&) {
  }
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "timeout: a request from outside wins, whichever came first", "[TO-29][TRAP-20]") {
  bool const request_first = GENERATE(true, false);
  run([&] {
    auto const child = spawn([&] {
      seen(ends([&] {
        with_timeout(request_first ? 2s : 1s, [&](timeout_scope& scope) {
          at_exit const leaving{[&] { seen(expired(scope)); }};
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            sleep_for(9s);  // ended by the other request
          }
        });
      }));
    });
    sleep_for(request_first ? 1s : 2s);
    child.cancel("enough");
    child.wait();
  });
  CHECK(seen == (request_first ? "expired@2, cancelled, asked 1@2" : "expired@2, cancelled: enough, asked 1@2"));
}

TEST_CASE_METHOD(virtual_time, "timeout: a request from outside at the same moment wins, and names the requesting task",
                 "[TO-29][TRAP-20]") {
  run([&] {
    std::optional<fibers::task_handle<>> child;
    auto const canceller = spawn([&] {
      sleep_for(1s);  // is due before the deadline: the request comes after the expiry, before the block is left
      child->cancel("enough");
    });
    this_task::yield();
    auto const owner = spawn([&] {
      seen(ends([&] {
        with_timeout(1s, [&](timeout_scope& scope) {
          at_exit const leaving{[&] { seen(expired(scope)); }};
          sleep_for(9s);
        });
      }));
    });
    child = owner.handle();
    owner.wait();
  });
  CHECK(seen == "expired@1, cancelled: enough, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: a request that was pending at entry is not swallowed", "[TRAP-22]") {
  fibers::duration const limit = GENERATE(fibers::duration(0s), fibers::duration(-1s), fibers::duration(1s));
  run([&] {
    auto const child = spawn([&] {
      this_task::cancel("before");
      seen(ends([&] { with_timeout(limit, [] { sleep_for(9s); }); }));
    });
    child.wait();
    auto const other = spawn([&] { seen(ends([&] { return move_on_after(limit, [] { this_task::yield(); }); })); });
    other.cancel("before its start");
    other.wait();
    seen(other.cancelled() ? "cancelled" : "not cancelled");
  });
  CHECK(seen == "cancelled: before, asked 1@0, cancelled@0");
}

TEST_CASE_METHOD(virtual_time, "timeout: a request that was pending at entry and is swallowed in the block still wins",
                 "[TRAP-22]") {
  run([&] {
    auto const child = spawn([&] {
      this_task::cancel("before");
      seen(ends([&] {
        with_timeout(1s, [&] {
          seen(ends([] { this_task::checkpoint(); }));
          sleep_for(9s);
        });
      }));
    });
    child.wait();
  });
  CHECK(seen == "cancelled: before, asked 1@0, cancelled, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: works after a request that was swallowed long ago", "[TO-21][TRAP-21]") {
  run([&] {
    swallow_a_request();
    seen(ends([] { with_timeout(1s, [] { sleep_for(9s); }); }));
    seen(ends([] { return move_on_after(1s, [] { with_timeout(5s, [] { sleep_for(9s); }); }); }));
    seen(ends([] { with_timeout(0s, [] { this_task::yield(); }); }));
    swallow_a_request();
    seen(ends([] { with_timeout(1s, [] { with_timeout(1s, [] { sleep_for(9s); }); }); }));
    seen(ends([] { sleep_for(1s); }));
  });
  CHECK(seen ==
        "timed out, asked 1@1, returned 0, asked 1@2, timed out, asked 1@2, timed out, asked 2@3, "
        "returned, asked 2@4");
}

TEST_CASE_METHOD(virtual_time, "timeout: a new request after one that was swallowed wins", "[TO-22]") {
  run([&] {
    auto const child = spawn([&] {
      swallow_a_request();
      seen(ends([&] {
        with_timeout(2s, [&](timeout_scope& scope) {
          at_exit const leaving{[&] { seen(expired(scope)); }};
          sleep_for(9s);
        });
      }));
    });
    sleep_for(1s);
    child.cancel("new");
    child.wait();
  });
  CHECK(seen == "not expired@1, cancelled: new, asked 2@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: a request from outside that was withdrawn in the block does not count") {
  run([&] {
    auto const child = spawn([&] {
      seen(ends([&] {
        with_timeout(2s, [&] {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            this_task::uncancel();
          }
          sleep_for(9s);
        });
      }));
    });
    sleep_for(1s);
    child.cancel("a question");
    child.wait();
  });
  CHECK(seen == "timed out@2");
}
