// SPDX-License-Identifier: BSL-1.0

// Clean-up that suspends in a destructor: during unwinding, and on the normal path.

#include <exception>
#include <fibers/shield.hpp>
#include <fibers/task_group.hpp>
#include <fibers/timeout.hpp>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::cleanup_guard;
using fibers::move_on_after;
using fibers::sleep_for;
using fibers::spawn;
using fibers::with_shield;
using fibers::with_timeout;
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// Runs `body` as a task that is cancelled once at each of these times, and waits for it.
template <class F>
std::string cancel_at(std::initializer_list<fibers::duration> times, F body) {
  auto task = spawn(body);
  for (auto const time : times) {
    fibers::sleep_until(fibers::time_point(time));
    task.cancel("asked");
  }
  task.wait();
  return task.cancelled() ? "ended cancelled" : "ended";
}

std::string in_flight() { return std::to_string(std::uncaught_exceptions()) + " in flight"; }

}  // namespace

// --- while an exception unwinds the stack ---

TEST_CASE_METHOD(virtual_time, "unwinding: a shield in a destructor is carried out, and requests stay pending") {
  run([&] {
    seen(cancel_at({1s, 2s}, [&] {
      at_exit const saves{[&] {
        with_shield([&] {
          seen(in_flight());
          sleep_for(3s);
          seen(in_flight());
        });
      }};
      sleep_for(9s);
    }));
  });
  CHECK(seen == "1 in flight@1, 1 in flight@4, ended cancelled@4");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a request in a shield there stays pending behind the error that unwinds") {
  run([&] {
    seen(cancel_at({1s}, [&] {
      seen(ends([&] {
        at_exit const saves{[&] { with_shield([] { sleep_for(3s); }); }};
        throw std::runtime_error("no");
      }));
      seen(ends([] { this_task::checkpoint(); }));
    }));
  });
  CHECK(seen == "failed: no, asked 1@3, cancelled: asked, asked 1@3, ended@3");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a shield with a limit, opened there, times out there") {
  run([&] {
    seen(cancel_at({1s}, [&] {
      at_exit const says_goodbye{[&] {
        seen(ends([] { with_shield(2s, [] { sleep_for(9s); }); }));
        seen(in_flight());
        seen(ends([] { return with_shield([] { return move_on_after(1s, [] { sleep_for(9s); }); }); }));
        seen(ends([] {
          with_shield([] { with_timeout(1s, [] { with_timeout(5s, [] { spawn([] { sleep_for(9s); }).get(); }); }); });
        }));
        seen(in_flight());
      }};
      sleep_for(9s);
    }));
  });
  CHECK(seen ==
        "timed out, asked 1@3, 1 in flight@3, returned 0, asked 1@4, timed out, asked 1@5, 1 in flight@5, "
        "ended cancelled@5");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a shield with a limit times out there though a request is pending outside") {
  run([&] {
    seen(cancel_at({1s, 2s}, [&] {
      at_exit const says_goodbye{[&] { seen(ends([] { with_shield(3s, [] { sleep_for(9s); }); })); }};
      sleep_for(9s);
    }));
  });
  CHECK(seen == "timed out, asked 2@4, ended cancelled@4");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a timeout that was entered there expires there") {
  run([&] {
    seen(ends([&] {
      at_exit const sleeps{[&] {
        seen(ends([] { with_timeout(1s, [] { sleep_for(3s); }); }));
        seen(ends([] { return move_on_after(0s, [] { this_task::yield(); }); }));
      }};
      throw std::runtime_error("no");
    }));
    seen(ends([] { sleep_for(1s); }));
  });
  CHECK(seen == "timed out@1, returned 0@1, failed: no@1, returned@2");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a timeout around all of it is delayed until the stack is unwound") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&] {
        try {
          at_exit const sleeps{[&] { seen(ends([] { sleep_for(3s); })); }};
          throw std::runtime_error("no");
        } catch (std::runtime_error const&) {
          seen(ends([] { sleep_for(9s); }));
          throw;
        }
      });
    }));
  });
  CHECK(seen == "returned, asked 1@3, cancelled, asked 1@3, failed: no@3");
}

TEST_CASE_METHOD(virtual_time, "unwinding: deeper, in a destructor that a shield there calls, a new shield is needed") {
  run([&] {
    seen(ends([&] {
      at_exit const outer{[&] {
        seen(ends([&] {
          with_shield(1s, [&] {
            at_exit const inner{[&] {
              seen(in_flight());
              seen(ends([] { sleep_for(3s); }));  // is shielded
              seen(ends([] { with_shield(1s, [] { sleep_for(9s); }); }));
            }};
            throw std::runtime_error("inner");
          });
        }));
      }};
      throw std::runtime_error("outer");
    }));
  });
  CHECK(seen == "2 in flight@0, returned, asked 1@3, timed out, asked 1@4, failed: inner@4, failed: outer@4");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a task group in a shield there works") {
  run([&] {
    seen(cancel_at({1s, 2s}, [&] {
      at_exit const saves{[&] {
        with_shield([&] {
          seen(ends([] {
                 fibers::with_task_group([](fibers::task_group& group) {
                   group.spawn([] {
                     sleep_for(3s);
                     throw std::runtime_error("no");
                   });
                   sleep_for(9s);
                 });
               }).substr(0, 18));
          seen(in_flight());
        });
      }};
      sleep_for(9s);
    }));
  });
  CHECK(seen == "failed: task group@4, 1 in flight@4, ended cancelled@4");
}

// --- cleanup_guard ---

TEST_CASE_METHOD(virtual_time, "cleanup_guard: may suspend on the normal path, and a request stays pending meanwhile") {
  run([&] {
    seen(cancel_at({2s}, [&] {
      {
        cleanup_guard const saves([&] {
          seen(in_flight());
          sleep_for(3s);
          seen("saved");
        });
        sleep_for(1s);
      }
      seen(ends([] { this_task::checkpoint(); }));
    }));
  });
  CHECK(seen == "0 in flight@1, saved@4, cancelled: asked, asked 1@4, ended@4");
}

TEST_CASE_METHOD(virtual_time,
                 "cleanup_guard: may suspend while a cancellation unwinds, and a second one stays pending") {
  run([&] {
    seen(cancel_at({1s, 2s}, [&] {
      cleanup_guard const saves([&] {
        seen(in_flight());
        sleep_for(3s);
        seen("saved, " + in_flight());
      });
      sleep_for(9s);
    }));
  });
  CHECK(seen == "1 in flight@1, saved, 1 in flight@4, ended cancelled@4");
}

TEST_CASE_METHOD(virtual_time, "cleanup_guard: runs though a request was pending before") {
  run([&] {
    auto const child = spawn([&] {
      cleanup_guard const saves([&] { seen(ends([] { sleep_for(1s); })); });
      this_task::cancel("pending");
    });
    child.wait();
    seen(child.cancelled() ? "cancelled" : "not cancelled");
  });
  CHECK(seen == "returned, asked 1@1, cancelled@1");
}

TEST_CASE_METHOD(virtual_time, "cleanup_guard: several run in reverse order, one after the other") {
  run([&] {
    seen(cancel_at({1s, 2s, 3s}, [&] {
      cleanup_guard const last([&] {
        sleep_for(2s);
        seen("last");
      });
      cleanup_guard const first([&] {
        sleep_for(2s);
        seen("first");
      });
      sleep_for(9s);
    }));
  });
  CHECK(seen == "first@3, last@5, ended cancelled@5");
}

TEST_CASE_METHOD(virtual_time, "cleanup_guard: once dismissed, it calls nothing, and destroys its callable") {
  run([&] {
    cleanup_guard dismissed([held = fibers::testing::counted(), this] { seen("called"); });
    dismissed.dismiss();
    seen(std::to_string(fibers::testing::counted::alive));
    dismissed.dismiss();
  });
  CHECK(seen == "0@0");
}

TEST_CASE_METHOD(virtual_time, "cleanup_guard: its exception goes to the hook, on either path") {
  run([&] {
    {
      cleanup_guard const fails([] { throw std::runtime_error("normal path"); });
    }
    seen(ends([] {
      cleanup_guard const fails([] {
        sleep_for(1s);
        throw std::runtime_error("unwinding");
      });
      throw std::logic_error("this one goes on");
    }));
    {
      cleanup_guard const fails([] { throw cancelled_error("by itself"); });
    }
    seen("goes on");
  });
  CHECK(seen == "failed: this one goes on@1, goes on@1");
  CHECK(unfetched ==
        std::vector<std::string>{"main: failed: normal path", "main: failed: unwinding", "main: cancelled: by itself"});
  unfetched.clear();
}

TEST_CASE_METHOD(virtual_time, "cleanup_guard: a limit inside ends clean-up that takes too long") {
  run([&] {
    seen(cancel_at({1s, 2s}, [&] {
      cleanup_guard const says_goodbye([&] { seen(ends([] { return move_on_after(2s, [] { sleep_for(9s); }); })); });
      sleep_for(9s);
    }));
  });
  CHECK(seen == "returned 0, asked 2@3, ended cancelled@3");
}

TEST_CASE("cleanup_guard: outside a task it calls its function nevertheless") {
  int calls = 0;
  {
    cleanup_guard const counts([&] { ++calls; });
  }
  CHECK(calls == 1);
}

TEST_CASE_METHOD(virtual_time, "cleanup_guard: calls a function that can be called once") {
  struct once {
    fibers::testing::record& seen;
    void operator()() && { seen("called"); }
  };
  run([&] { cleanup_guard const guard(once{seen}); });
  CHECK(seen == "called@0");
}
