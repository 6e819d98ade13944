// SPDX-License-Identifier: BSL-1.0

#include <fibers/error.hpp>
#include <fibers/shared_mutex.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <mutex>
#include <shared_mutex>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::shared_mutex;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {
class shared_mutex_case : public virtual_time {
 protected:
  auto reader(std::string name) {
    return spawn([this, name] {
      std::shared_lock const lock(m);
      seen(name);
      sleep_for(1s);
    });
  }
  auto writer(std::string name) {
    return spawn([this, name] {
      std::unique_lock const lock(m);
      seen(name);
      sleep_for(1s);
    });
  }
  shared_mutex m;
};
}  // namespace

TEST_CASE_METHOD(shared_mutex_case, "shared_mutex: readers share it, a writer has it alone, in FIFO order") {
  run([&] {
    auto r1 = reader("r1");
    auto r2 = reader("r2");
    auto w1 = writer("w1");
    auto r3 = reader("r3");
    auto r4 = reader("r4");
    auto w2 = writer("w2");
    w2.get();
  });
  CHECK(seen == "r1@0, r2@0, w1@1, r3@2, r4@2, w2@3");
}

TEST_CASE_METHOD(shared_mutex_case, "shared_mutex: new readers do not starve a writer") {
  run([&] {
    bool stop = false;
    auto const keep_reading = [&] {
      while (!stop) {
        std::shared_lock const lock(m);
        sleep_for(1s);
      }
    };
    auto r1 = spawn(keep_reading);
    sleep_for(500ms);
    auto r2 = spawn(keep_reading);
    sleep_for(100ms);
    writer("w").get();
    stop = true;
    r1.get();
    r2.get();
  });
  CHECK(seen == "w@1.5");
}

TEST_CASE_METHOD(shared_mutex_case, "shared_mutex: if a waiting writer is cancelled, the readers behind it continue") {
  bool const timeout = GENERATE(true, false);
  run([&] {
    auto r1 = reader("r1");
    auto w = spawn([&] { fibers::move_on_after(timeout ? 500ms : 10s, [&] { m.lock(); }); });
    auto r2 = reader("r2");
    sleep_for(500ms);
    if (!timeout) w.cancel();
    r2.get();
    w.wait();
    seen(m.try_lock() ? "free" : "locked");
    m.unlock();
  });
  CHECK(seen == "r1@0, r2@0.5, free@1.5");
}

TEST_CASE_METHOD(shared_mutex_case, "shared_mutex: try_lock and try_lock_shared do not overtake waiters") {
  run([&] {
    auto r = reader("r");
    this_task::yield();
    seen(m.try_lock_shared() ? "shared" : "no");
    seen(m.try_lock() ? "alone" : "no");
    m.unlock_shared();
    auto w = writer("w");
    this_task::yield();
    seen(m.try_lock_shared() ? "shared" : "no");
    w.get();
  });
  CHECK(seen == "r@0, shared@0, no@0, no@0, w@1");
}

TEST_CASE_METHOD(shared_mutex_case, "shared_mutex: unlocking in a mode in which it is not locked is refused") {
  CHECK_THROWS_AS(m.unlock(), fibers::invalid_state_error);
  CHECK_THROWS_AS(m.unlock_shared(), fibers::invalid_state_error);
  CHECK(m.try_lock_shared());
  CHECK_THROWS_AS(m.unlock(), fibers::invalid_state_error);
  m.unlock_shared();
}
