// SPDX-License-Identifier: BSL-1.0

// Queues whose users are cancelled or time out: no item is lost, and none is duplicated.

#include <fibers/queue.hpp>
#include <fibers/shield.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>

#include "catch.hpp"
#include "queues.hpp"

using namespace std::chrono_literals;
using fibers::queue;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::queue_case;
namespace this_task = fibers::this_task;

// --- getters ---

TEST_CASE_METHOD(queue_case, "queue: a cancelled getter takes no item", "[Q-13][TRAP-03]") {
  run([&] {
    queue<int> q;
    auto a = getter(q, "a"), b = getter(q, "b");
    this_task::yield();
    a.cancel();  // it has not run yet when the item arrives
    q.put(1);
    b.get();
    see_all(q);
  });
  CHECK(seen == "a cancelled@0, b returned 1@0, 0 empty@0");
}

TEST_CASE_METHOD(queue_case, "queue: an item stays if its only getter was cancelled", "[Q-13][TRAP-03]") {
  run([&] {
    queue<int> q;
    auto a = getter(q, "a");
    this_task::yield();
    a.cancel();
    q.put(1);
    a.get();
    see_all(q);
  });
  CHECK(seen == "a cancelled@0, 1: 1@0");
}

TEST_CASE_METHOD(queue_case, "queue: a getter that was handed an item returns it, and is cancelled in its next wait",
                 "[Q-14][TRAP-03]") {
  run([&] {
    queue<int> q;
    auto a = spawn([&] {
      seen(how([&] { return q.get(); }));
      seen(how([&] { return q.get(); }));
    });
    this_task::yield();
    q.put(1);
    q.put(2);
    a.cancel();
    a.get();
    see_all(q);
  });
  CHECK(seen == "returned 1@0, cancelled@0, 1: 2@0");
}

TEST_CASE_METHOD(queue_case, "queue: of three getters the first is cancelled, the others get both items", "[Q-15]") {
  run([&] {
    queue<int> q;
    auto a = getter(q, "a"), b = getter(q, "b"), c = getter(q, "c");
    this_task::yield();
    bool const cancel_first = GENERATE(true, false);
    if (cancel_first) a.cancel();
    q.put(1);
    q.put(2);
    if (!cancel_first) b.cancel();  // arrives too late
    this_task::yield();
    see_all(q);
    seen(c.done() ? "c is done" : "c waits");
    c.cancel();
  });
  CHECK((seen == "a cancelled@0, b returned 1@0, c returned 2@0, 0 empty@0, c is done@0" ||
         seen == "a returned 1@0, b returned 2@0, 0 empty@0, c waits@0, c cancelled@0"));
}

TEST_CASE_METHOD(queue_case, "queue: a getter that times out takes nothing", "[TRAP-03]") {
  run([&] {
    queue<int> q;
    for (int i = 0; i < 3; ++i) {
      auto const got = fibers::move_on_after(1s, [&] { return q.get(); });
      seen(got.has_value() ? "got" : "nothing");
    }
    q.put(1);
    see_all(q);
  });
  CHECK(seen == "nothing@1, nothing@2, nothing@3, 1: 1@3");
}

TEST_CASE_METHOD(queue_case, "queue: if the item and the time limit come together, there is one winner and one item",
                 "[TRAP-03]") {
  bool const item_first = GENERATE(true, false);
  run([&] {
    queue<int> q;
    auto const put = [&] {
      sleep_for(1s);
      q.put(1);
    };
    auto const get = [&] {
      auto const got = fibers::move_on_after(1s, [&] { return q.get(); });
      seen(got.has_value() ? "got " + std::to_string(*got) : "nothing");
    };
    // Timers with equal deadlines fire in the order in which they were set.
    auto a = item_first ? spawn(put) : spawn(get);
    auto b = item_first ? spawn(get) : spawn(put);
    a.get();
    b.get();
    see_all(q);
  });
  CHECK((seen == "got 1@1, 0 empty@1" || seen == "nothing@1, 1: 1@1"));
}

TEST_CASE_METHOD(queue_case, "queue: a pending request is thrown though there is an item") {
  run([&] {
    queue<int> q;
    q.put(1);
    this_task::cancel();
    seen(how([&] { return q.get(); }));
    this_task::cancel();
    seen(how([&] { q.put(2); }));
    this_task::cancel();
    seen(how([&] { q.join(); }));
    this_task::cancel();
    seen(q.try_put(3) ? "put" : "full");
    seen(how([&] { return q.get_nowait(); }));
    seen(how([] { this_task::yield(); }));
    see_all(q);
  });
  CHECK(seen == "cancelled@0, cancelled@0, cancelled@0, put@0, returned 1@0, cancelled@0, 1: 3@0");
}

// --- putters ---

TEST_CASE_METHOD(queue_case, "queue: a cancelled putter has not touched its item") {
  queue<std::unique_ptr<int>> q(0);
  auto item = std::make_unique<int>(7);
  run([&] {
    auto a = spawn([&] { seen(how([&] { q.put(std::move(item)); })); });
    this_task::yield();
    a.cancel();
    seen(q.try_get().has_value() ? "taken" : "not to be had");
    a.get();
    seen(how([&] { fibers::with_timeout(1s, [&] { q.put(std::move(item)); }); }).substr(0, 6));
    this_task::cancel();
    seen(how([&] { q.put(std::move(item)); }));
  });
  CHECK(seen == "not to be had@0, cancelled@0, failed@1, cancelled@1");
  REQUIRE(item != nullptr);
  CHECK(*item == 7);
}

TEST_CASE_METHOD(queue_case, "queue: a putter whose item was taken returns, and is cancelled in its next wait",
                 "[Q-16][Q-19]") {
  run([&] {
    queue<int> q(1);
    q.put(1);
    auto a = spawn([&] {
      seen(how([&] { q.put(2); }));
      seen(how([&] { q.put(3); }));
    });
    this_task::yield();
    seen(how([&] { return q.get_nowait(); }));
    a.cancel();
    a.get();
    seen(how([&] { return q.get_nowait(); }));
    seen(how([&] { q.put_nowait(4); }));
    see_all(q);
  });
  CHECK(seen == "returned 1@0, returned@0, cancelled@0, returned 2@0, returned@0, 1 full: 4@0");
}

TEST_CASE_METHOD(queue_case, "queue: a cancelled putter does not disturb the order of the others", "[Q-17]") {
  run([&] {
    queue<int> q(1);
    q.put(0);
    auto a = putter(q, 1), b = putter(q, 2), c = putter(q, 3), d = putter(q, 4);
    this_task::yield();
    c.cancel();
    bool const at_once = GENERATE(true, false);
    if (!at_once) c.get();
    std::string got;
    for (int i = 0; i < 4; ++i) got += std::to_string(q.get());
    seen(got);
  });
  CHECK(seen.contains("put 3 cancelled@0"));
  CHECK(seen.contains("0124@0"));
}

TEST_CASE_METHOD(queue_case, "queue: cancelled tasks leave nothing in its lists", "[Q-18]") {
  run([&] {
    queue<int> q(1);
    for (int i = 0; i < 100; ++i) fibers::move_on_after(1s, [&] { q.get(); });
    q.put(1);
    for (int i = 0; i < 100; ++i) fibers::move_on_after(1s, [&] { q.put(2); });
    for (int i = 0; i < 100; ++i) fibers::move_on_after(1s, [&] { q.join(); });
    see_all(q);
    seen(q.try_put(3) ? "room" : "no room");
    seen(q.try_get().has_value() ? "there" : "not there");
    q.task_done();
    q.task_done();
    q.join();
  });
  CHECK(seen == "1 full: 1@300, room@300, there@300");
}

TEST_CASE_METHOD(queue_case, "queue: a cancelled join ends, and the items stay") {
  run([&] {
    queue<int> q;
    q.put(1);
    auto a = joiner(q), b = joiner(q);
    this_task::yield();
    a.cancel();
    q.task_done();
    b.get();
  });
  CHECK(seen == "join cancelled@0, join returned@0");
}

TEST_CASE_METHOD(queue_case, "queue: the loop over its items ends with its task, and the item stays") {
  run([&] {
    queue<int> q;
    auto worker = spawn([&] {
      for (int const item : q) {
        seen("works on " + std::to_string(item));
        fibers::with_shield([] { sleep_for(1s); });
      }
    });
    q.put(1);
    q.put(2);
    this_task::yield();
    worker.cancel();
    worker.wait();
    seen(worker.cancelled() ? "cancelled" : "returned");
    see_all(q);
  });
  CHECK(seen == "works on 1@0, cancelled@1, 1: 2@1");
}

// --- destruction with waiters ---

TEST_CASE_METHOD(queue_case, "queue: waiters of a destroyed queue get an error") {
  run([&] {
    auto q = std::make_unique<queue<int>>(1);
    auto a = getter(*q, "a");
    this_task::yield();
    q.reset();
    a.get();
    q = std::make_unique<queue<int>>(1);
    q->put(1);
    auto b = putter(*q, 2), c = joiner(*q);
    this_task::yield();
    q.reset();
    b.get();
    c.get();
  });
  CHECK(seen.contains("a failed: fibers: task"));
  CHECK(seen.contains("put 2 failed: fibers: task"));
  CHECK(seen.contains("join failed: fibers: task"));
  CHECK(seen.contains("was destroyed meanwhile"));
}

TEST_CASE_METHOD(queue_case,
                 "queue: a waiter that was cancelled just before the queue is destroyed does not touch it") {
  bool const passed_over = GENERATE(true, false);
  run([&] {
    auto q = std::make_unique<queue<int>>(1);
    auto a = getter(*q, "a");
    this_task::yield();
    a.cancel();
    if (passed_over) q->put(1);
    q.reset();
    a.get();

    q = std::make_unique<queue<int>>(1);
    q->put(1);
    auto b = putter(*q, 2), c = joiner(*q);
    this_task::yield();
    b.cancel();
    c.cancel();
    if (passed_over) {
      q->get();
      q->task_done();
    }
    q.reset();
    b.get();
    c.get();
  });
  CHECK(seen == "a cancelled@0, put 2 cancelled@0, join cancelled@0");
}

TEST_CASE_METHOD(queue_case, "queue: a getter that was handed an item may find the queue destroyed") {
  run([&] {
    auto q = std::make_unique<queue<int>>(1);
    auto a = getter(*q, "a");
    this_task::yield();
    q->put(1);
    q.reset();
    a.get();
    q = std::make_unique<queue<int>>(0);
    auto b = putter(*q, 2);
    this_task::yield();
    q->get();
    q.reset();
    b.get();
  });
  CHECK(seen == "a returned 1@0, put 2 returned@0");
}

TEST_CASE_METHOD(queue_case, "queue: a get that timed out leaves no getter behind", "[WF-17][Q-18]") {
  run([&] {
    queue<int> q;
    seen(fibers::move_on_after(1s, [&] { return q.get(); }).has_value() ? "got one" : "timed out");
    q.put(7);
    seen(std::to_string(q.size()) + " in it");
    seen(std::to_string(q.get()));
  });
  CHECK(seen == "timed out@1, 1 in it@1, 7@1");
}
