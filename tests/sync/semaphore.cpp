// SPDX-License-Identifier: BSL-1.0

#include <fibers/semaphore.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <mutex>
#include <stdexcept>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::semaphore;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {
class semaphore_case : public virtual_time {
 protected:
  // Acquires permits, and records that.
  auto taker(semaphore& s, std::string name, semaphore::count permits = 1) {
    return spawn([this, &s, name, permits] {
      s.acquire(permits);
      seen(name);
    });
  }
};
}  // namespace

TEST_CASE_METHOD(semaphore_case, "semaphore: may begin with no permits", "[SEM-01]") {
  run([&] {
    semaphore s(0);
    seen(s.try_acquire() ? "had one" : "has none");
    auto a = taker(s, "a");
    sleep_for(1s);
    s.release();
    a.get();
  });
  CHECK(seen == "has none@0, a@1");
}

TEST_CASE("semaphore: invalid numbers are refused", "[SEM-02]") {
  CHECK_THROWS_AS(semaphore(-1), std::invalid_argument);
  CHECK_THROWS_AS(semaphore(3, 2), std::invalid_argument);
  semaphore s(1, 2);
  CHECK_THROWS_AS(s.try_acquire(0), std::invalid_argument);
  CHECK_THROWS_AS(s.try_acquire(3), std::invalid_argument);
  CHECK_THROWS_AS(s.release(0), std::invalid_argument);
  CHECK(s.available() == 1);
}

TEST_CASE_METHOD(semaphore_case, "semaphore: free permits are acquired without suspending", "[SEM-03]") {
  run([&] {
    semaphore s(2);
    auto other = spawn([&] { seen("other"); });
    s.acquire();
    s.acquire();
    seen(std::to_string(s.available()) + " left");
    seen(s.try_acquire() ? "one more" : "no more");
    other.get();
  });
  CHECK(seen == "0 left@0, no more@0, other@0");
}

TEST_CASE_METHOD(semaphore_case, "semaphore: a permit goes to the first waiter, and newcomers queue",
                 "[SEM-04][SEM-10][SEM-14]") {
  run([&] {
    semaphore s(0);
    auto a = taker(s, "a");
    auto b = taker(s, "b");
    this_task::yield();
    s.release();
    seen(std::to_string(s.available()) + " free");
    seen(s.try_acquire() ? "slipped in" : "waits");
    a.get();
    s.release(2);
    b.get();
    seen(std::to_string(s.available()) + " free");
  });
  CHECK(seen == "0 free@0, waits@0, a@0, b@0, 1 free@0");
}

TEST_CASE_METHOD(semaphore_case, "semaphore: cancelled waiters take nothing, and the next are served in order",
                 "[SEM-05][SEM-06][SEM-07][SEM-13][TRAP-04]") {
  run([&] {
    semaphore s(0);
    auto a = taker(s, "a");
    auto b = taker(s, "b");
    auto c = taker(s, "c");
    auto d = taker(s, "d");
    this_task::yield();
    a.cancel();
    b.cancel();
    s.release();
    sleep_for(1s);
    seen(how([&] { a.get(); }));
    seen(d.done() ? "d has one" : "d waits");
    s.release();
    d.get();
    seen(std::to_string(s.available()) + " free");
  });
  CHECK(seen == "c@0, cancelled@1, d waits@1, d@1, 0 free@1");
}

TEST_CASE_METHOD(semaphore_case,
                 "semaphore: a waiter that was handed its permit keeps it, and the request stays pending", "[SEM-08]") {
  run([&] {
    semaphore s(0);
    auto a = spawn([&] {
      s.acquire();
      try {
        sleep_for(1s);
      } catch (fibers::cancelled_error const&) {
        s.release();
        throw;
      }
    });
    this_task::yield();
    s.release();
    a.cancel();
    seen(how([&] { a.get(); }));
    seen(std::to_string(s.available()) + " free");
  });
  CHECK(seen == "cancelled@0, 1 free@0");
}

TEST_CASE("semaphore: a bounded semaphore refuses to exceed its limit", "[SEM-09]") {
  semaphore s(1, 1);
  CHECK_THROWS_AS(s.release(), std::invalid_argument);
  CHECK(s.available() == 1);
  CHECK(s.try_acquire());
  s.release();
  CHECK(s.available() == 1);
}

TEST_CASE_METHOD(semaphore_case, "semaphore: FIFO order holds over several rounds", "[SEM-11][SEM-12]") {
  run([&] {
    semaphore s(1);
    fibers::with_task_group([&](fibers::task_group& group) {
      for (auto const* name : {"a", "b", "c"}) {
        group.spawn([&, name] {
          for (int i = 0; i < 2; ++i) {
            s.acquire();
            seen(name);
            this_task::yield();
            s.release();
          }
        });
      }
    });
  });
  CHECK(seen == "a@0, b@0, c@0, a@0, b@0, c@0");
}

TEST_CASE_METHOD(semaphore_case, "semaphore: standard lock guards hold one permit", "[SEM-15]") {
  run([&] {
    semaphore s(2);
    int inside = 0, most = 0;
    fibers::with_task_group([&](fibers::task_group& group) {
      for (int i = 0; i < 6; ++i) {
        group.spawn([&] {
          std::lock_guard const permit(s);
          most = std::max(most, ++inside);
          sleep_for(1s);
          --inside;
        });
      }
    });
    seen(std::to_string(most) + " at most");
    seen(std::to_string(s.available()) + " free");
  });
  CHECK(seen == "2 at most@3, 2 free@3");
}

TEST_CASE_METHOD(semaphore_case, "semaphore: a waiter for several permits gets them at once, and is not overtaken") {
  run([&] {
    semaphore s(1);
    auto many = taker(s, "three", 3);
    auto one = taker(s, "one");
    this_task::yield();
    s.release();
    this_task::yield();
    seen(std::to_string(s.available()) + " kept");
    s.release(2);
    one.get();
    seen(std::to_string(s.available()) + " free");
  });
  CHECK(seen == "2 kept@0, three@0, one@0, 0 free@0");
}

TEST_CASE_METHOD(semaphore_case, "semaphore: if a waiter for many permits is cancelled, those behind it are served") {
  run([&] {
    semaphore s(1);
    auto many = spawn([&] { return fibers::move_on_after(1s, [&] { s.acquire(3); }); });
    auto one = taker(s, "one");
    seen(many.get() ? "three" : "gave up");
    one.get();
  });
  CHECK(seen == "one@1, gave up@1");
}
