// SPDX-License-Identifier: BSL-1.0

#include <fibers/get_any.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>

#include "catch.hpp"
#include "queues.hpp"

using namespace std::chrono_literals;
using fibers::get_any;
using fibers::queue;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::queue_case;
namespace this_task = fibers::this_task;

namespace {
class get_any_case : public queue_case {
 protected:
  // "0: 7": the item 7 of the first queue.
  template <class... Queue>
  static std::string take(Queue&... queues) {
    auto const next = get_any(queues...);
    return std::to_string(next.index()) + ": " +
           std::visit([](auto const& item) { return std::to_string(item); }, next);
  }
  template <class... Queue>
  auto taker(std::string name, Queue&... queues) {
    return spawn([this, name, &queues...] { seen(name + ' ' + how([&] { return take(queues...); })); });
  }
};
}  // namespace

TEST_CASE_METHOD(get_any_case, "get_any: takes from the first queue that has an item, without waiting") {
  run([&] {
    auto other = spawn([&] { seen("other"); });
    queue<int> a;
    queue<long> b;
    fibers::priority_queue<char> c;
    b.put(1);
    b.put(2);
    c.put('x');
    seen(take(a, b, c));
    a.put(3);
    seen(take(a, b, c));
    seen(take(a, b, c));
    auto const last = get_any(a, b, c);
    seen(std::get<2>(last) == 'x' ? "x" : "not x");
    other.get();
  });
  CHECK(seen == "1: 1@0, 0: 3@0, 1: 2@0, x@0, other@0");
}

TEST_CASE_METHOD(get_any_case, "get_any: takes from exactly one queue, whichever gets an item first") {
  bool const both = GENERATE(true, false);
  run([&] {
    queue<int> a, b;
    auto t = taker("t", a, b);
    sleep_for(1s);
    b.put(1);
    if (both) a.put(2);  // in the same step
    t.get();
    if (!both) a.put(2);
    see_all(a);
    see_all(b);
  });
  CHECK(seen == "t returned 1: 1@1, 1: 2@1, 0 empty@1");
}

TEST_CASE_METHOD(get_any_case, "get_any: leaves the wait lists of the other queues") {
  run([&] {
    queue<int> a, b;
    auto t = taker("t", a, b), u = getter(a, "u");
    this_task::yield();
    b.put(1);
    a.put(2);  // skips t, which has not run yet
    u.get();
    a.put(3);
    see_all(a);
  });
  CHECK(seen == "t returned 1: 1@0, u returned 2@0, 1: 3@0");
}

TEST_CASE_METHOD(get_any_case, "get_any: if cancelled, takes nothing", "[TRAP-03]") {
  bool const cancel_first = GENERATE(true, false);
  run([&] {
    queue<int> a, b;
    auto t = taker("t", a, b);
    this_task::yield();
    if (cancel_first) t.cancel();
    b.put(1);
    if (!cancel_first) t.cancel();
    t.wait();
    see_all(a);
    see_all(b);
  });
  CHECK(seen == (cancel_first ? "t cancelled@0, 0 empty@0, 1: 1@0" : "t returned 1: 1@0, 0 empty@0, 0 empty@0"));
}

TEST_CASE_METHOD(get_any_case, "get_any: if it times out, takes nothing") {
  run([&] {
    queue<int> a, b;
    for (int i = 0; i < 3; ++i) seen(fibers::move_on_after(1s, [&] { get_any(a, b); }) ? "got" : "nothing");
    a.put(1);
    b.put(2);
    this_task::cancel();
    seen(how([&] { return take(a, b); }));
    see_all(a);
    see_all(b);
  });
  CHECK(seen == "nothing@1, nothing@2, nothing@3, cancelled@3, 1: 1@3, 1: 2@3");
}

TEST_CASE_METHOD(get_any_case, "get_any: skips queues that are shut down, and ends when all are") {
  run([&] {
    queue<int> a, b;
    auto t = taker("t", a, b), u = taker("u", a, b);
    sleep_for(1s);
    a.shutdown();
    sleep_for(1s);
    b.put(1);
    sleep_for(1s);
    b.shutdown();
    sleep_for(1s);
    seen(how([&] { return take(a, b); }));
  });
  CHECK(seen == "t returned 1: 1@2, u failed: the queue was shut down@3, failed: the queue was shut down@4");
}

TEST_CASE_METHOD(get_any_case, "get_any: takes items that are left in a queue that is shut down") {
  run([&] {
    queue<int> a, b;
    b.put(1);
    a.shutdown();
    b.shutdown();
    seen(how([&] { return take(a, b); }));
    seen(how([&] { return take(a, b); }));
  });
  CHECK(seen == "returned 1: 1@0, failed: the queue was shut down@0");
}

TEST_CASE_METHOD(get_any_case, "get_any: several calls and plain getters share the items, each item goes to one") {
  run([&] {
    queue<int> a, b;
    auto t = taker("t", a, b), u = taker("u", b, a), v = getter(a, "v"), w = taker("w", a);
    this_task::yield();
    a.put(1);
    b.put(2);
    a.put(3);
    a.put(4);
    w.get();
    see_all(a);
    see_all(b);
  });
  CHECK(seen == "t returned 0: 1@0, u returned 0: 2@0, v returned 3@0, w returned 0: 4@0, 0 empty@0, 0 empty@0");
}

TEST_CASE_METHOD(get_any_case, "get_any: makes room for a putter, and takes its item at a rendezvous") {
  run([&] {
    queue<int> full(1), meeting(0);
    full.put(1);
    auto p = putter(full, 2), q = putter(meeting, 3);
    this_task::yield();
    for (int i = 0; i < 3; ++i) seen(take(full, meeting));
    p.get();
    q.get();
    auto t = taker("t", full, meeting);
    this_task::yield();
    seen(meeting.try_put(4) ? "met" : "nobody there");
    t.get();
    auto gone = putter(meeting, 5);
    this_task::yield();
    gone.cancel();
    seen(fibers::move_on_after(1s, [&] { take(full, meeting); }) ? "got" : "nothing");
  });
  CHECK(seen ==
        "0: 1@0, 0: 2@0, 1: 3@0, put 2 returned@0, put 3 returned@0, met@0, t returned 1: 4@0, put 5 cancelled@0, "
        "nothing@1");
}

TEST_CASE_METHOD(get_any_case, "get_any: counts for join, and takes move-only items") {
  run([&] {
    queue<std::unique_ptr<int>> a, b;
    b.put(std::make_unique<int>(7));
    auto const next = get_any(a, b);
    seen(std::to_string(*std::get<1>(next)));
    auto t = joiner(b);
    sleep_for(1s);
    b.task_done();
    t.get();
  });
  CHECK(seen == "7@0, join returned@1");
}

TEST_CASE_METHOD(get_any_case, "get_any: the same queue twice gives one item") {
  run([&] {
    queue<int> a;
    auto t = taker("t", a, a);
    this_task::yield();
    a.put(1);
    a.put(2);
    t.get();
    see_all(a);
  });
  CHECK(seen == "t returned 0: 1@0, 1: 2@0");
}

TEST_CASE_METHOD(get_any_case, "get_any: throws an error when one of its queues is destroyed") {
  run([&] {
    auto a = std::make_unique<queue<int>>(), b = std::make_unique<queue<int>>();
    auto t = taker("t", *a, *b);
    this_task::yield();
    b.reset();
    a.reset();
    t.get();
  });
  CHECK(seen.contains("t failed: fibers: task"));
  CHECK(seen.contains("was destroyed meanwhile"));
}

TEST_CASE_METHOD(get_any_case, "get_any: an item that was handed over arrives though the queues are destroyed") {
  int const passed_over = GENERATE(0, 1, 2);
  run([&] {
    auto a = std::make_unique<queue<int>>(), b = std::make_unique<queue<int>>();
    auto t = taker("t", *a, *b);
    this_task::yield();
    b->put(1);
    if (passed_over == 1) a->put(2);
    if (passed_over == 2) a->shutdown();
    a.reset();
    b.reset();
    t.get();
  });
  CHECK(seen == "t returned 1: 1@0");
}
