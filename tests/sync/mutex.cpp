// SPDX-License-Identifier: BSL-1.0

#include <fibers/mutex.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <mutex>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::mutex;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {
class mutex_case : public virtual_time {
 protected:
  // Locks the mutex, records that, and holds it for a second.
  auto locker(mutex& m, std::string name) {
    return spawn([this, &m, name] {
      std::lock_guard const guard(m);
      seen(name);
      sleep_for(1s);
    });
  }
};
}  // namespace

TEST_CASE_METHOD(mutex_case, "mutex: a free mutex is locked at once, and unlock frees it", "[LOCK-01]") {
  run([&] {
    mutex m;
    auto other = spawn([&] { seen("other"); });
    m.lock();
    seen(m.is_locked() ? "locked" : "free");
    seen(m.try_lock() ? "twice" : "not twice");
    m.unlock();
    seen(m.is_locked() ? "locked" : "free");
    other.get();
  });
  CHECK(seen == "locked@0, not twice@0, free@0, other@0");
}

TEST_CASE_METHOD(mutex_case, "mutex: waiters are served in FIFO order", "[LOCK-02][LOCK-08]") {
  run([&] {
    mutex m;
    auto a = locker(m, "a");
    auto b = locker(m, "b");
    auto c = locker(m, "c");
    c.get();
    seen(m.is_locked() ? "locked" : "free");
  });
  CHECK(seen == "a@0, b@1, c@2, free@3");
}

TEST_CASE_METHOD(mutex_case, "mutex: a cancelled waiter leaves the queue", "[LOCK-03][LOCK-06]") {
  run([&] {
    mutex m;
    auto a = locker(m, "a");
    auto b = locker(m, "b");
    auto c = locker(m, "c");
    this_task::yield();
    b.cancel();
    seen(how([&] { b.get(); }));
    c.get();
    seen(m.is_locked() ? "locked" : "free");
  });
  CHECK(seen == "a@0, cancelled@0, c@1, free@2");
}

TEST_CASE_METHOD(
    mutex_case,
    "mutex: if it is unlocked and a waiter cancelled in one step, in either order, exactly one task continues",
    "[LOCK-04][LOCK-05][TRAP-05]") {
  bool const cancel_first = GENERATE(true, false);
  run([&] {
    mutex m;
    m.lock();
    auto a = locker(m, "a");
    auto b = locker(m, "b");
    auto c = locker(m, "c");
    this_task::yield();
    if (cancel_first) a.cancel();
    m.unlock();
    if (!cancel_first) a.cancel();
    a.wait();
    b.wait();
    c.wait();
    seen(m.is_locked() ? "locked" : "free");
  });
  // If it is unlocked first, a has it, and is cancelled in its sleep.
  CHECK(seen == (cancel_first ? "b@0, c@1, free@2" : "a@0, b@0, c@1, free@2"));
}

TEST_CASE_METHOD(mutex_case, "mutex: unlocking a free mutex is refused", "[LOCK-07]") {
  mutex m;
  CHECK_THROWS_AS(m.unlock(), fibers::invalid_state_error);
  CHECK(m.try_lock());
  m.unlock();
  CHECK_FALSE(m.is_locked());
}

TEST_CASE_METHOD(mutex_case, "mutex: a task that unlocks and locks again goes to the end of the queue", "[LOCK-09]") {
  run([&] {
    mutex m;
    auto a = spawn([&] {
      for (int i = 0; i < 2; ++i) {
        std::lock_guard const guard(m);
        seen("a");
        this_task::yield();
      }
    });
    auto b = locker(m, "b");
    a.get();
    b.get();
  });
  CHECK(seen == "a@0, b@0, a@1");
}

TEST_CASE_METHOD(mutex_case, "mutex: an unlocked mutex is reserved for the first waiter, and a newcomer queues",
                 "[LOCK-10]") {
  run([&] {
    mutex m;
    m.lock();
    auto a = locker(m, "a");
    this_task::yield();
    m.unlock();
    seen(m.is_locked() ? "locked" : "free");
    m.lock();
    seen("newcomer");
    m.unlock();
  });
  CHECK(seen == "free@0, a@0, newcomer@1");
}

TEST_CASE_METHOD(mutex_case, "mutex: a waiter that try_lock has overtaken is first again, and can be cancelled") {
  bool const cancelled = GENERATE(false, true);
  run([&] {
    mutex m;
    m.lock();
    auto a = locker(m, "a");
    auto b = locker(m, "b");
    this_task::yield();
    m.unlock();
    seen(m.try_lock() ? "slipped in" : "");
    if (cancelled) a.cancel();
    sleep_for(1s);
    m.unlock();
    a.wait();
    b.get();
    seen(m.is_locked() ? "locked" : "free");
  });
  CHECK(seen == (cancelled ? "slipped in@0, b@1, free@2" : "slipped in@0, a@1, b@2, free@3"));
}

TEST_CASE_METHOD(mutex_case, "mutex: any task may unlock it", "[LOCK-12]") {
  run([&] {
    mutex m;
    m.lock();
    spawn([&] { m.unlock(); }).get();
    seen(m.is_locked() ? "locked" : "free");
  });
  CHECK(seen == "free@0");
}

TEST_CASE_METHOD(mutex_case, "mutex: lock throws a pending request, though the mutex is free") {
  run([&] {
    mutex m;
    this_task::cancel("now");
    seen(how([&] { m.lock(); }));
    seen(m.is_locked() ? "locked" : "free");
    seen(m.try_lock() ? "try_lock does not" : "");
    this_task::uncancel();
  });
  CHECK(seen == "cancelled: now@0, free@0, try_lock does not@0");
}

TEST_CASE_METHOD(mutex_case, "mutex: a timeout leaves the queue in order") {
  run([&] {
    mutex m;
    auto a = locker(m, "a");
    auto b = spawn([&] { return fibers::move_on_after(500ms, [&] { m.lock(); }); });
    auto c = locker(m, "c");
    seen(b.get() ? "b has it" : "b gave up");
    c.get();
  });
  CHECK(seen == "a@0, b gave up@0.5, c@1");
}

TEST_CASE_METHOD(mutex_case, "mutex: lock_shielded continues to wait after a request, which stays pending") {
  run([&] {
    mutex m;
    auto a = locker(m, "a");
    auto b = spawn([&] {
      m.lock_shielded();
      seen("b");
      m.unlock();
      sleep_for(5s);
    });
    this_task::yield();
    b.cancel();
    seen(how([&] { b.get(); }));
  });
  CHECK(seen == "a@0, b@1, cancelled@1");
}

TEST_CASE_METHOD(mutex_case, "mutex: a destructor can lock during unwinding while a request is pending") {
  run([&] {
    mutex m;
    struct needs_lock {
      mutex& m;
      ~needs_lock() {
        std::lock_guard const guard(m);
        sleep_for(1s);
      }
    };
    auto a = locker(m, "a");
    auto b = spawn([&] {
      needs_lock const last{m};
      throw std::runtime_error("b fails");
    });
    this_task::yield();
    b.cancel();
    seen(how([&] { b.get(); }));
  });
  CHECK(seen == "a@0, failed: b fails@2");
}

TEST_CASE_METHOD(mutex_case, "mutex: scoped_lock takes two in any order without a deadlock") {
  run([&] {
    mutex m, n;
    int both = 0;
    fibers::with_task_group([&](fibers::task_group& group) {
      for (int i = 0; i < 10; ++i) {
        group.spawn([&, i] {
          if (i % 2 == 0) {
            std::scoped_lock const guard(m, n);
            this_task::yield();
            ++both;
          } else {
            std::scoped_lock const guard(n, m);
            this_task::yield();
            ++both;
          }
        });
      }
    });
    seen(std::to_string(both));
  });
  CHECK(seen == "10@0");
}
