// SPDX-License-Identifier: BSL-1.0

// Queues without cancellation.

#include <atomic>
#include <cstdlib>
#include <fibers/queue.hpp>
#include <fibers/this_task.hpp>
#include <functional>
#include <memory>
#include <new>
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

// --- contents and order ---

TEST_CASE_METHOD(queue_case, "queue: empty and full follow its contents", "[Q-01]") {
  queue<int> q(2);
  CHECK((q.empty() && !q.full() && q.size() == 0 && q.capacity() == 2));
  q.put_nowait(1);
  CHECK((!q.empty() && !q.full() && q.size() == 1));
  q.put_nowait(2);
  CHECK((!q.empty() && q.full() && q.size() == 2));
  q.get_nowait();
  CHECK((!q.empty() && !q.full() && q.size() == 1));
}

TEST_CASE_METHOD(queue_case, "queue: an unbounded queue is never full, and put never waits", "[Q-01][Q-06]") {
  queue<int> q;
  run([&] {
    auto other = spawn([&] { seen("other"); });
    for (int i = 0; i < 200; ++i) q.put(i);
    seen(q.full() ? "full" : "not full");
    other.get();
  });
  CHECK(seen == "not full@0, other@0");
  CHECK((q.size() == 200 && q.capacity() == fibers::unbounded));
}

TEMPLATE_TEST_CASE("queue: each kind has its order", "[Q-02][Q-03][Q-04]", queue<int>, lifo_queue<int>,
                   priority_queue<int>, (priority_queue<int, std::greater<int>>)) {
  TestType q;
  for (int const i : {2, 9, 4, 1, 3, 8, 7, 5, 6}) q.put_nowait(i);
  std::string got;
  while (auto const item = q.try_get()) got += std::to_string(*item);
  std::string const wanted = std::is_same_v<TestType, queue<int>>            ? "294138756"
                             : std::is_same_v<TestType, lifo_queue<int>>     ? "657831492"
                             : std::is_same_v<TestType, priority_queue<int>> ? "123456789"
                                                                             : "987654321";
  CHECK(got == wanted);
}

TEST_CASE("queue: the order is kept while it grows", "[Q-02]") {
  queue<int> q;
  for (int i = 0; i < 100; ++i) {
    q.put_nowait(2 * i);
    q.put_nowait(2 * i + 1);
    REQUIRE(q.get_nowait() == i);
  }
  CHECK(q.size() == 100);
}

TEST_CASE("queue: operations that do not wait succeed, or report a full or an empty queue", "[Q-08][Q-09][Q-10]") {
  queue<int> q(1);
  q.put_nowait(1);
  CHECK_THROWS_AS(q.put_nowait(2), fibers::queue_full);
  CHECK_FALSE(q.try_put(2));
  CHECK(q.get_nowait() == 1);
  CHECK_THROWS_AS(q.get_nowait(), fibers::queue_empty);
  CHECK(q.try_get() == std::nullopt);
  CHECK(q.try_put(3));
  CHECK(q.try_get() == 3);
}

TEST_CASE("queue: a refused item is not changed") {
  queue<std::unique_ptr<int>> q(1);
  auto first = std::make_unique<int>(1), second = std::make_unique<int>(2);
  CHECK(q.try_put(std::move(first)));
  CHECK(first == nullptr);
  CHECK_FALSE(q.try_put(std::move(second)));
  q.shutdown();
  CHECK_THROWS_AS(q.try_put(std::move(second)), fibers::queue_shut_down);
  CHECK_THROWS_AS(fibers::run([&] { q.put(std::move(second)); }), fibers::queue_shut_down);
  REQUIRE(second != nullptr);
  CHECK(*second == 2);
  CHECK(*q.get_nowait() == 1);
}

TEMPLATE_TEST_CASE("queue: move-only items pass through", "", queue<std::unique_ptr<int>>,
                   lifo_queue<std::unique_ptr<int>>, priority_queue<std::unique_ptr<int>>) {
  int sum = 0;
  fibers::run([&] {
    TestType q(1);
    auto producer = spawn([&] {
      for (int i = 1; i <= 4; ++i) q.put(std::make_unique<int>(i));
      q.shutdown();
    });
    for (auto item : q) sum += *item;
    producer.get();
  });
  CHECK(sum == 10);
}

// --- waiting ---

TEST_CASE_METHOD(queue_case, "queue: get waits only if there is no item", "[Q-07]") {
  run([&] {
    queue<int> q;
    auto other = spawn([&] { seen("other"); });
    q.put(1);
    seen(how([&] { return q.get(); }));
    other.get();
    auto a = getter(q, "a");
    sleep_for(1s);
    q.put(2);
    seen("put");
    a.get();
  });
  CHECK(seen == "returned 1@0, other@0, put@1, a returned 2@1");
}

TEST_CASE_METHOD(queue_case, "queue: put waits while it is full, and continues in order", "[Q-05][Q-11]") {
  run([&] {
    queue<int> q(1);
    auto a = putter(q, 1), b = putter(q, 2), c = putter(q, 3);
    this_task::yield();
    sleep_for(1s);
    seen(how([&] { return q.get(); }));
    sleep_for(1s);
    seen(how([&] { return q.get(); }));
    sleep_for(1s);
    see_all(q);
  });
  CHECK(seen == "put 1 returned@0, returned 1@1, put 2 returned@1, returned 2@2, put 3 returned@2, 1 full: 3@3");
}

TEST_CASE_METHOD(queue_case, "queue: an item goes to the getter that has waited longest", "[Q-12][Q-22]") {
  run([&] {
    queue<int> q;
    auto a = getter(q, "a"), b = getter(q, "b");
    this_task::yield();
    auto p = putter(q, 1);
    p.get();
    seen(b.done() ? "both" : "one");
    q.put(2);
    b.get();
    see_all(q);
  });
  CHECK(seen == "put 1 returned@0, a returned 1@0, one@0, b returned 2@0, 0 empty@0");
}

TEST_CASE_METHOD(queue_case, "queue: an item that was handed over cannot be taken by another task", "[Q-23]") {
  run([&] {
    queue<int> q;
    auto a = getter(q, "a");
    this_task::yield();
    q.put(1);
    seen(q.try_get().has_value() ? "stolen" : "not to be had");
    a.get();
  });
  CHECK(seen == "not to be had@0, a returned 1@0");
}

TEST_CASE_METHOD(queue_case, "queue: room that was reserved for a putter cannot be taken by another task") {
  run([&] {
    queue<int> q(1);
    q.put(1);
    auto a = putter(q, 2);
    this_task::yield();
    q.get();
    seen(q.try_put(3) ? "slipped in" : "full");
    a.get();
    see_all(q);
  });
  CHECK(seen == "full@0, put 2 returned@0, 1 full: 2@0");
}

TEST_CASE_METHOD(queue_case, "queue: with a capacity of one, producer and consumer both finish", "[Q-20]") {
  run([&] {
    queue<int> q(1);
    auto producer = spawn([&] {
      for (int i = 0; i < 5; ++i) q.put(i);
      seen("all put");
    });
    auto consumer = spawn([&] {
      int sum = 0;
      for (int i = 0; i < 5; ++i) {
        sum += q.get();
        if (i % 2 == 0) sleep_for(1s);
      }
      seen("sum " + std::to_string(sum));
    });
    producer.get();
    consumer.get();
  });
  CHECK(seen == "all put@2, sum 10@3");
}

TEST_CASE_METHOD(queue_case, "queue: get_nowait() wakes one putter for each item", "[Q-21]") {
  run([&] {
    queue<int> q(3);
    for (int i = 0; i < 3; ++i) q.put(i);
    auto a = putter(q, 3), b = putter(q, 4), c = putter(q, 5), d = putter(q, 6);
    this_task::yield();
    for (int i = 0; i < 3; ++i) q.get_nowait();
    sleep_for(1s);
    see_all(q);
  });
  CHECK(seen == "put 3 returned@0, put 4 returned@0, put 5 returned@0, 3 full: 3 4 5 6@1, put 6 returned@1");
}

// --- a rendezvous ---

TEST_CASE_METHOD(queue_case, "queue: with a capacity of 0, put waits for a getter", "[Q-01]") {
  run([&] {
    queue<int> q(0);
    auto a = putter(q, 1), b = putter(q, 2);
    sleep_for(1s);
    seen(how([&] { return q.get(); }));
    sleep_for(1s);
    seen("try " + std::to_string(q.try_get().value_or(-1)));
    seen("try " + std::to_string(q.try_get().value_or(-1)));
    see_all(q);
  });
  CHECK(seen == "returned 1@1, put 1 returned@1, try 2@2, try -1@2, 0 empty full@2, put 2 returned@2");
}

TEST_CASE_METHOD(queue_case, "queue: with a capacity of 0, put completes at once if a getter waits", "[Q-01]") {
  run([&] {
    queue<int> q(0);
    seen(q.try_put(1) ? "put" : "nobody there");
    auto a = getter(q, "a"), b = getter(q, "b");
    this_task::yield();
    seen(q.try_put(2) ? "put" : "nobody there");
    seen(how([&] { q.put(3); }));
    b.get();
    seen(q.try_put(4) ? "put" : "nobody there");
  });
  CHECK(seen == "nobody there@0, put@0, returned@0, a returned 2@0, b returned 3@0, nobody there@0");
}

// --- joining ---

TEST_CASE("queue: task_done refuses more calls than items were put", "[Q-24]") {
  queue<int> q;
  CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
  q.put_nowait(1);
  q.task_done();
  CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
}

TEMPLATE_TEST_CASE_METHOD(queue_kinds, "queue: join waits until every item that was put is done",
                          "[Q-24][Q-25][Q-26][Q-31]", queue<int>, lifo_queue<int>, priority_queue<int>) {
  this->run([&] {
    TestType q(2);
    q.join();
    q.join();
    this->seen("joined");
    auto a = this->joiner(q), b = this->putter(q, 1), c = this->putter(q, 2), d = this->putter(q, 3);
    sleep_for(1s);
    auto e = this->joiner(q);
    for (int i = 0; i < 3; ++i) {
      q.get();
      sleep_for(1s);
      this->seen("done");
      q.task_done();
    }
    e.get();
    this->seen(how([&] { q.task_done(); }).substr(0, 6));
    q.join();
  });
  CHECK(this->seen ==
        "joined@0, join returned@0, put 1 returned@0, put 2 returned@0, put 3 returned@1, done@2, done@3, done@4, "
        "join returned@4, failed@4");
}

TEST_CASE_METHOD(queue_case, "queue: an item that was handed over counts as put", "[Q-25]") {
  run([&] {
    queue<int> q(0);
    auto a = getter(q, "a");
    this_task::yield();
    q.put(1);
    auto b = joiner(q);
    a.get();
    sleep_for(1s);
    q.task_done();
    b.get();
  });
  CHECK(seen == "a returned 1@0, join returned@1");
}

// --- threads and allocations ---

TEST_CASE("queue: plain threads may put and get without waiting") {
  constexpr int items = 200;
  queue<int> to(4), back(4);
  std::thread thread([&] {
    for (int put = 0, got = 0; got < items;) {
      if (put < items && to.try_put(put)) ++put;
      if (auto const item = back.try_get()) {
        if (*item != got) return;
        ++got;
        back.task_done();
      }
      std::this_thread::yield();
    }
    to.shutdown();
  });
  int echoed = 0;
  fibers::run([&] {
    for (int const item : to) {
      back.put(item);
      ++echoed;
    }
    back.join();
  });
  thread.join();
  CHECK(echoed == items);
  CHECK(back.empty());
}

#if !FIBERS_TESTING_SANITIZED  // the sanitizers replace operator new themselves

static std::atomic<int> allocations = 0;

// Not inlined: otherwise g++ warns about a free() of memory from new.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, std::nothrow_t const&) noexcept {
  ++allocations;
  return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEMPLATE_TEST_CASE_METHOD(queue_kinds, "queue: a warm queue does not allocate", "", queue<int>, lifo_queue<int>,
                          priority_queue<int>) {
  int spent = -1;
  this->run([&] {
    TestType q(4), answers(0);
    auto echo = spawn([&] {
      for (int const item : q) answers.put(item);
    });
    auto const round = [&] {
      for (int i = 0; i < 4; ++i) q.put(i);  // is stored
      for (int i = 0; i < 4; ++i) answers.get();
      q.put(1);  // is handed over
      answers.get();
    };
    round();
    int const before = allocations;
    for (int i = 0; i < 10; ++i) round();
    spent = allocations - before;
    q.shutdown();
    echo.get();
  });
  CHECK(spent == 0);
}

#endif
