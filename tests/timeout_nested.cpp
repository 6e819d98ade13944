// SPDX-License-Identifier: BSL-1.0

// Blocks with time limits inside each other, moved deadlines, requests from outside, and task groups in between: who is
// it that ends a task?

#include <fibers/task_group.hpp>
#include <fibers/timeout.hpp>
#include <optional>
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
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

fibers::time_point at(fibers::duration since_the_start) { return fibers::time_point(since_the_start); }

std::string expired(timeout_scope const& scope) { return scope.expired() ? "expired" : "not expired"; }

// Swallows one cancellation and keeps its count, as careless code does.
void swallow_a_request() {
  this_task::cancel("swallowed");
  try {
    this_task::checkpoint();
  } catch (cancelled_error const&) {
  }
}

}  // namespace

// --- nested ---

TEST_CASE_METHOD(virtual_time, "nested timeouts: of one deadline, the outer one times out, and both have expired",
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

TEST_CASE_METHOD(virtual_time, "nested timeouts: the inner one comes first, and the outer one has its turn later") {
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

TEST_CASE_METHOD(virtual_time, "nested timeouts: when the outer one comes first, the inner one lets it pass",
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

TEST_CASE_METHOD(virtual_time, "nested timeouts: both are past while clean-up takes its time", "[TO-17]") {
  run([&] {
    seen(ends([&] {
      with_timeout(2s, [&] {
        move_on_after(1s, [&](timeout_scope& inner) {
          try {
            sleep_for(9s);
          } catch (cancelled_error const&) {
            seen(ends([] { sleep_for(9s); }));  // the outer one cuts it short
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
          sleep_for(1s);  // over at the same moment, before the deadline
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

TEST_CASE_METHOD(virtual_time, "nested timeouts: one in a clean-up works by itself, then the outer one's error comes",
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

TEST_CASE_METHOD(virtual_time, "nested timeouts: an inner error that nobody handles is the outer block's too") {
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

// --- moved deadlines ---

TEST_CASE_METHOD(virtual_time, "reschedule: moves the deadline, pushed back or pulled in", "[TO-18]") {
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

TEST_CASE_METHOD(virtual_time, "reschedule: no_timeout switches it off, and a later deadline on again", "[TO-18]") {
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

TEST_CASE_METHOD(virtual_time, "reschedule: to a time that has passed cuts the next wait", "[TO-19]") {
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

TEST_CASE_METHOD(virtual_time, "reschedule: another task may push the deadline back while this one waits") {
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

TEST_CASE_METHOD(virtual_time, "reschedule: of one that has expired is refused, and changes nothing", "[TO-24]") {
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

// --- and requests from outside ---

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
            sleep_for(9s);  // cut short by the other one
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

TEST_CASE_METHOD(virtual_time, "timeout: a request from outside at the same moment wins", "[TO-29][TRAP-20]") {
  run([&] {
    std::optional<fibers::task_handle<>> child;
    auto const canceller = spawn([&] {
      sleep_for(1s);  // is due before the deadline, so it asks when the block has expired and was not left yet
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
  CHECK(seen == "expired@1, cancelled, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: one that was pending at entry is not swallowed (R12)", "[TRAP-22]") {
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

TEST_CASE_METHOD(virtual_time, "timeout: one that was pending at entry and is swallowed in the block still wins",
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

TEST_CASE_METHOD(virtual_time, "timeout: a request from outside that was taken back in the block does not count") {
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

// --- and task groups ---

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

TEST_CASE_METHOD(virtual_time, "timeout: around a task group whose child fails meanwhile, the errors come out",
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

TEST_CASE_METHOD(virtual_time, "timeout: in a child of a task group concerns that child alone", "[TO-30]") {
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
