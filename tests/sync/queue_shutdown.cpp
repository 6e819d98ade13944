// SPDX-License-Identifier: BSL-1.0

// Queues that are shut down.

#include <fibers/queue.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <memory>
#include <thread>

#include "catch.hpp"
#include "queues.hpp"

using namespace std::chrono_literals;
using fibers::lifo_queue;
using fibers::priority_queue;
using fibers::queue;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::queue_case;
using fibers::testing::queue_kinds;
namespace this_task = fibers::this_task;

#define EACH_KIND queue<int>, lifo_queue<int>, priority_queue<int>

TEMPLATE_TEST_CASE_METHOD(queue_kinds, "queue: an empty queue that is shut down ends getters and refuses putters",
                          "[Q-27][Q-31]", EACH_KIND) {
  auto& log = this->seen;
  this->run([&] {
    TestType q;
    auto a = this->getter(q, "a"), b = this->getter(q, "b");
    this_task::yield();
    q.shutdown();
    b.get();
    log("join " + how([&] { q.join(); }));
    log("put " + how([&] { q.put(1); }));
    log("get " + how([&] { return q.get(); }));
    log("put_nowait " + how([&] { q.put_nowait(1); }));
    log("get_nowait " + how([&] { return q.get_nowait(); }));
    log("try_put " + how([&] { return q.try_put(1); }));
    log("try_get " + how([&] { return q.try_get().has_value(); }));
    q.shutdown();  // a second call has no effect
  });
  CHECK(log ==
        "a failed: the queue was shut down@0, b failed: the queue was shut down@0, join returned@0, "
        "put failed: the queue was shut down@0, get failed: the queue was shut down@0, "
        "put_nowait failed: the queue was shut down@0, get_nowait failed: the queue was shut down@0, "
        "try_put failed: the queue was shut down@0, try_get failed: the queue was shut down@0");
}

TEMPLATE_TEST_CASE_METHOD(queue_kinds,
                          "queue: a queue with items that is shut down refuses putters and returns its items",
                          "[Q-28][Q-31]", EACH_KIND) {
  auto& log = this->seen;
  this->run([&] {
    TestType q(1);
    q.put(1);
    auto a = this->putter(q, 2), b = this->putter(q, 3), c = this->joiner(q);
    this_task::yield();
    q.shutdown();
    a.get();
    b.get();
    log(how([&] { return q.get(); }));
    log(how([&] { return q.get(); }));
    log(c.done() ? "joined" : "not yet");
    sleep_for(1s);
    q.task_done();
    c.get();
  });
  CHECK(log ==
        "put 2 failed: the queue was shut down@0, put 3 failed: the queue was shut down@0, returned 1@0, "
        "failed: the queue was shut down@0, not yet@0, join returned@1");
}

TEMPLATE_TEST_CASE_METHOD(queue_kinds, "queue: shut down at once, it drops its items, and they count as done",
                          "[Q-29][Q-31]", EACH_KIND) {
  auto& log = this->seen;
  this->run([&] {
    TestType q(2);
    q.put(1);
    q.put(2);
    auto a = this->putter(q, 3), b = this->joiner(q);
    this_task::yield();
    q.shutdown(true);
    b.get();
    a.get();
    log(how([&] { return q.get(); }));
  });
  CHECK(log == "join returned@0, put 3 failed: the queue was shut down@0, failed: the queue was shut down@0");
}

TEMPLATE_TEST_CASE_METHOD(queue_kinds, "queue: shut down at once, its join still waits for items in work",
                          "[Q-30][Q-31]", EACH_KIND) {
  auto& log = this->seen;
  this->run([&] {
    TestType q;
    q.put(1);
    q.put(2);
    q.put(3);
    q.get();
    auto a = this->joiner(q);
    sleep_for(1s);
    q.shutdown(true);
    sleep_for(1s);
    log(a.done() ? "joined" : "not yet");
    q.task_done();
    a.get();
    log(how([&] { q.task_done(); }).substr(0, 6));
  });
  CHECK(log == "not yet@2, join returned@2, failed@2");
}

TEST_CASE_METHOD(queue_case, "queue: shut down first gracefully, then at once, it drops the remaining items",
                 "[Q-29]") {
  run([&] {
    queue<int> q;
    q.put(1);
    auto a = joiner(q);
    this_task::yield();
    q.shutdown();
    this_task::yield();
    seen(a.done() ? "joined" : "not yet");
    q.shutdown(true);
    a.get();
  });
  CHECK(seen == "not yet@0, join returned@0");
}

TEST_CASE_METHOD(queue_case, "queue: a rendezvous that is shut down refuses putters and ends getters", "[Q-27][Q-28]") {
  run([&] {
    queue<int> with_putter(0), with_getter(0);
    auto a = putter(with_putter, 1), b = getter(with_getter, "b");
    this_task::yield();
    with_putter.shutdown();
    with_getter.shutdown();
    a.get();
    b.get();
    seen(how([&] { return with_putter.get(); }));
    with_putter.join();
  });
  CHECK(seen ==
        "put 1 failed: the queue was shut down@0, b failed: the queue was shut down@0, "
        "failed: the queue was shut down@0");
}

TEST_CASE_METHOD(queue_case, "queue: an item that a shut-down queue refuses is not changed") {
  queue<std::unique_ptr<int>> q(0);
  auto item = std::make_unique<int>(7);
  run([&] {
    auto a = spawn([&] { seen(how([&] { q.put(std::move(item)); })); });
    this_task::yield();
    q.shutdown();
    a.get();
  });
  CHECK(seen == "failed: the queue was shut down@0");
  REQUIRE(item != nullptr);
}

TEST_CASE_METHOD(queue_case, "queue: if it is shut down and a task cancelled in one step, the first of both counts") {
  run([&] {
    queue<int> q;
    auto a = getter(q, "a"), b = getter(q, "b");
    this_task::yield();
    a.cancel();
    q.shutdown();
    b.cancel();
    b.wait();
  });
  CHECK(seen == "a cancelled@0, b failed: the queue was shut down@0");
}

TEST_CASE_METHOD(queue_case, "queue: an item handed over before the shutdown arrives") {
  run([&] {
    queue<int> q;
    auto a = getter(q, "a");
    this_task::yield();
    q.put(1);
    q.shutdown(true);
    a.get();
    auto b = joiner(q);
    this_task::yield();
    q.task_done();
    b.get();
  });
  CHECK(seen == "a returned 1@0, join returned@0");
}

TEST_CASE_METHOD(queue_case, "queue: items are destroyed outside its lock") {
  struct curious {
    explicit curious(queue<curious>& q) : where(&q) {}
    curious(curious&& other) noexcept : where(std::exchange(other.where, nullptr)) {}
    curious& operator=(curious&& other) noexcept {
      std::swap(where, other.where);
      return *this;
    }
    ~curious() {
      if (where != nullptr) CHECK(where->empty());  // would hang if the queue's lock were held
    }
    queue<curious>* where;
  };
  queue<curious> q;
  q.put_nowait(curious(q));
  q.shutdown(true);
}

TEST_CASE_METHOD(queue_case, "queue: loops over its items share them, and end when it is shut down and empty") {
  run([&] {
    queue<int> q(2);
    fibers::with_task_group([&](fibers::task_group& group) {
      for (auto const* name : {"a", "b"}) {
        group.spawn([this, &q, name] {
          for (int const item : q) {
            seen(name + std::to_string(item));
            sleep_for(1s);
            q.task_done();
          }
          seen(std::string(name) + " ends");
        });
      }
      for (int i = 0; i < 5; ++i) q.put(i);
      q.shutdown();
      q.join();
      seen("joined");
    });
  });
  CHECK(seen == "a0@0, b1@0, a2@1, b3@1, a4@2, b ends@2, a ends@3, joined@3");
}

TEST_CASE("queue: a plain thread may shut it down") {
  queue<int> q;
  std::string ending;
  std::thread thread;
  fibers::run([&] {
    thread = std::thread([&] { q.shutdown(); });
    ending = how([&] { return q.get(); });
  });
  thread.join();
  CHECK(ending == "failed: the queue was shut down");
}
