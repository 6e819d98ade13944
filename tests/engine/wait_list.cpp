// SPDX-License-Identifier: BSL-1.0
#include <atomic>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"

using fibers::clock_kind;
using fibers::detail::claim;
using fibers::detail::simple_waiter;
using fibers::detail::spinlock;
using fibers::detail::wait_list;

namespace {

using texts = std::vector<std::string>;

// A minimal primitive: items that are handed over in FIFO order.
class box {
 public:
  void take() {
    auto const place = BOOST_CURRENT_LOCATION;
    auto& self = fibers::detail::enter(place);
    std::unique_lock guard(lock_);
    if (items_ > 0) {
      --items_;
      return;
    }
    simple_waiter<> w(self, place, waiting_);
    w.wait(guard);
  }
  void give() {
    fibers::detail::owed_wakes woken;
    std::scoped_lock const guard(lock_);
    if (waiting_.notify_first(woken) == nullptr) ++items_;
  }
  int items() {
    std::scoped_lock const guard(lock_);
    return items_;
  }
  bool has_no_waiters() {
    std::scoped_lock const guard(lock_);
    return waiting_.empty();
  }

 private:
  spinlock lock_;
  wait_list<> waiting_{lock_};
  int items_ = 0;
};

fibers::task<void> taker(box& from, texts& log, std::string name) {
  return fibers::spawn(name, [&from, &log, name] {
    try {
      from.take();
      log.push_back(name);
    } catch (fibers::cancelled_error const&) {
      log.push_back(name + " cancelled");
      throw;
    }
  });
}

template <class F>
void run_virtual(F main) {
  fibers::run({.clock = clock_kind::virtual_time}, std::move(main));
}

void settle_down() {
  for (int i = 0; i < 5; ++i) fibers::this_task::yield();
}

}  // namespace

TEST_CASE("wait_list: an empty list has no waiter to claim") {
  spinlock lock;
  wait_list<> waiting(lock);
  fibers::detail::owed_wakes woken;
  std::scoped_lock const guard(lock);
  CHECK(waiting.empty());
  CHECK(waiting.notify_first(woken) == nullptr);
}

TEST_CASE("wait_list: waiters are served in FIFO order") {
  texts log;
  run_virtual([&] {
    box shared;
    auto a = taker(shared, log, "a"), b = taker(shared, log, "b"), c = taker(shared, log, "c");
    settle_down();
    for (int i = 0; i < 3; ++i) shared.give();
    c.wait();
  });
  CHECK(log == texts{"a", "b", "c"});
}

TEST_CASE("wait_list: a cancelled waiter loses its place, and the others keep theirs") {
  texts log;
  int left = -1;
  run_virtual([&] {
    box shared;
    auto a = taker(shared, log, "a"), b = taker(shared, log, "b"), c = taker(shared, log, "c");
    settle_down();
    b.cancel_and_wait();
    shared.give();
    shared.give();
    settle_down();
    left = shared.items();
  });
  CHECK(log == texts{"b cancelled", "a", "c"});
  CHECK(left == 0);
}

TEST_CASE("wait_list: a cancelled waiter leaves the list at once, before its task runs") {
  texts log;
  bool empty = false, empty_at_once = false;
  run_virtual([&] {
    box shared;
    auto a = taker(shared, log, "a"), b = taker(shared, log, "b");
    settle_down();
    a.cancel();
    shared.give();
    empty_at_once = shared.has_no_waiters();
    settle_down();
    empty = shared.has_no_waiters();
  });
  CHECK(log == texts{"a cancelled", "b"});
  CHECK(empty_at_once);
  CHECK(empty);
}

TEST_CASE("wait_list: a waiter that was notified is not cancelled any more", "[TASK-34]") {
  texts log;
  run_virtual([&] {
    box shared;
    auto a = taker(shared, log, "a");
    settle_down();
    shared.give();
    a.cancel();
    settle_down();
    log.push_back(a.cancelled() ? "cancelled" : "done");
  });
  CHECK(log == texts{"a", "done"});
}

TEST_CASE("wait_list: cancelled waiters leave an empty list, whatever the order") {
  bool empty = false;
  run_virtual([&] {
    box shared;
    texts log;
    std::vector<fibers::task<void>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(taker(shared, log, "x"));
    settle_down();
    for (std::size_t i : {4U, 0U, 9U, 5U, 1U, 8U, 2U, 7U, 3U, 6U}) tasks[i].cancel();
    for (auto& task : tasks) task.wait();
    empty = shared.has_no_waiters();
  });
  CHECK(empty);
}

TEST_CASE("wait_list: an item that a thread hands off while another cancels goes to the waiter or stays, never both") {
  box shared;
  std::atomic<fibers::task_handle<>*> to_cancel = nullptr;
  std::atomic<int> gives = 0, given = 0, cancels = 0;
  std::atomic<bool> stop = false;
  std::thread giver([&] {
    for (int round = 0; !stop;) {
      if (gives.load() == round) {
        std::this_thread::yield();
        continue;
      }
      ++round;
      shared.give();
      ++given;
    }
  });
  std::thread canceller([&] {
    while (!stop) {
      auto* const task = to_cancel.exchange(nullptr);
      if (task == nullptr) {
        std::this_thread::yield();
        continue;
      }
      task->cancel();
      ++cancels;
    }
  });

  std::set<std::string> seen;
  bool conserved = true;
  fibers::run([&] {
    for (int round = 1; seen.size() < 2; ++round) {
      bool got = false;
      auto task = fibers::spawn([&] {
        shared.take();
        got = true;
      });
      fibers::task_handle<> handle = task.handle();
      for (int i = 0; i < round % 3; ++i) fibers::this_task::yield();
      if (round % 2 == 0) {
        ++gives;
        to_cancel = &handle;
      } else {
        to_cancel = &handle;
        ++gives;
      }
      task.wait();
      while (given != round || cancels != round) std::this_thread::yield();
      conserved = conserved && shared.items() == (got ? 0 : 1) && shared.has_no_waiters();
      seen.insert(got ? "got it" : "was cancelled");
      if (!got) shared.take();
    }
  });
  stop = true;
  giver.join();
  canceller.join();
  CHECK(conserved);
}

TEST_CASE("wait_list: tasks of several threads' loops pass an item on, and no task misses its turn") {
  constexpr int loops = 3, rounds = 1000;
  std::vector<box> seats(loops);
  std::atomic<int> turns = 0;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < loops; ++i) {
    threads.emplace_back([&, i] {
      fibers::run([&] {
        for (int round = 0; round < rounds; ++round) {
          seats[i].take();  // its loop sleeps meanwhile
          ++turns;
          seats[(i + 1) % loops].give();
        }
      });
    });
  }
  seats[0].give();
  for (auto& thread : threads) thread.join();
  CHECK(turns == loops * rounds);
  CHECK(seats[0].items() == 1);
}
