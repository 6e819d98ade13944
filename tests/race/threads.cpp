// SPDX-License-Identifier: BSL-1.0

// Primitives that tasks of several threads' loops share, with the real clock.
//
// A race here has three parties on three threads: a task that waits, a loop that ends the wait, and a loop that cancels
// it. It is repeated until each of the two has won. Each time the handed-over object must be with the task, or still
// there.

#include <atomic>
#include <fibers/barrier.hpp>
#include <fibers/condition_variable.hpp>
#include <fibers/event.hpp>
#include <fibers/get_any.hpp>
#include <fibers/latch.hpp>
#include <fibers/mutex.hpp>
#include <fibers/queue.hpp>
#include <fibers/run.hpp>
#include <fibers/semaphore.hpp>
#include <fibers/shared_mutex.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::sleep_for;
using fibers::spawn;
namespace this_task = fibers::this_task;

namespace {

/// A thread with a loop, which makes a call on request.
class rival {
 public:
  explicit rival(std::function<void()> act)
      : thread_([this, act = std::move(act)] {
          fibers::run([&] {
            for (int round = 0; !stop_;) {
              if (told_ == round) {
                std::this_thread::yield();
                this_task::yield();
                continue;
              }
              act();
              done_ = ++round;
            }
          });
        }) {}
  ~rival() {
    stop_ = true;
    thread_.join();
  }
  void tell() { ++told_; }
  bool idle() const { return told_ == done_; }

 private:
  std::atomic<int> told_ = 0, done_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Counts tasks inside a block.
class presence {
 public:
  explicit presence(std::atomic<int>& count) : count_(count) { ++count; }
  presence(presence const&) = delete;
  presence& operator=(presence const&) = delete;
  ~presence() { --count_; }

 private:
  std::atomic<int>& count_;
};

using endings = std::set<std::string>;

/// A waiting task, a releasing one, and the check of the outcome; repeated until the task was both `got` and
/// `cancelled`. take() may report how it completed. conserved(got) checks what is left after all tasks have stopped,
/// and restores the initial state.
template <class Take>
bool race(Take take, std::function<void()> give, std::function<bool(std::string const&)> conserved,
          endings const& wanted = {"got", "cancelled"}) {
  fibers::task_handle<> target;
  rival giver(std::move(give)), canceller([&] { target.cancel(); });
  endings seen;
  bool holds = true;
  fibers::run([&] {
    for (unsigned round = 0; holds && seen != wanted; ++round) {
      std::string ending = "cancelled";
      auto task = spawn([&] {
        if constexpr (std::is_void_v<decltype(take())>) {
          take();
          ending = "got";
        } else {
          ending = take();
        }
      });
      target = task.handle();
      for (unsigned i = 0; i < round % 3; ++i) this_task::yield();  // the task begins at once, or later
      (round % 2 == 0 ? giver : canceller).tell();
      for (unsigned i = 0; i < round / 2 % 7; ++i) std::this_thread::yield();
      (round % 2 == 0 ? canceller : giver).tell();
      task.wait();
      while (!canceller.idle()) std::this_thread::yield();
      holds = conserved(ending);
      while (!giver.idle()) this_task::yield();
      seen.insert(ending);
    }
  });
  return holds;
}

}  // namespace

TEST_CASE("threads: a getter races its cancellation", "[TRAP-03]") {
  std::size_t const capacity = GENERATE(0U, 1U, 8U);
  fibers::queue<std::unique_ptr<int>> q(capacity);
  CHECK(race([&] { q.get(); }, [&] { q.put(std::make_unique<int>(1)); },
             [&](std::string const& ending) { return ending == "got" || *q.get() == 1; }));
  CHECK(q.empty());
}

TEST_CASE("threads: a putter races its cancellation") {
  std::size_t const capacity = GENERATE(0U, 1U);
  fibers::queue<std::unique_ptr<int>> q(capacity);
  if (capacity == 1) q.put_nowait(std::make_unique<int>(0));
  bool intact = true;
  CHECK(race(
      [&] {
        auto item = std::make_unique<int>(1);
        try {
          q.put(std::move(item));
        } catch (fibers::cancelled_error const&) {
          intact = intact && item != nullptr;
          throw;
        }
      },
      [&] { q.get(); },
      [&](std::string const& ending) {
        // No item was put: the getter still waits, or there is room now.
        if (ending == "cancelled") q.put(std::make_unique<int>(2));
        return true;
      }));
  CHECK(intact);
  CHECK(q.size() == capacity);
}

TEST_CASE("threads: get_any is given one item, by either of two queues", "[TRAP-03]") {
  fibers::queue<int> a, b(0);
  int round = 0;
  CHECK(race([&] { return fibers::get_any(a, b).index() == 0 ? "from a" : "from b"; },
             [&] { ++round % 2 == 0 ? a.put(1) : b.put(2); },
             [&](std::string const& ending) {
               if (ending == "cancelled") fibers::get_any(a, b);
               return a.empty();
             },
             {"from a", "from b", "cancelled"}));
}

TEST_CASE("threads: get_any is claimed by one of two threads, and the other's item stays") {
  fibers::queue<int> a, b;
  rival first([&] { a.put(1); }), second([&] { b.put(2); });
  std::set<std::size_t> winners;
  bool conserved = true;
  fibers::run([&] {
    for (unsigned round = 0; conserved && winners.size() < 2; ++round) {
      auto task = spawn([&] { return fibers::get_any(a, b).index(); });
      if (round % 3 > 0) this_task::yield();
      (round % 2 == 0 ? first : second).tell();
      (round % 2 == 0 ? second : first).tell();
      auto const winner = task.get();
      while (!first.idle() || !second.idle()) this_task::yield();
      winners.insert(winner);
      conserved = a.size() + b.size() == 1 && fibers::get_any(a, b).index() != winner;
    }
  });
  CHECK(conserved);
}

TEST_CASE("threads: a semaphore's permits are acquired, or still there", "[TRAP-04]") {
  fibers::semaphore s(1);
  CHECK(race([&] { s.acquire(3); }, [&] { s.release(2); },
             [&](std::string const& ending) {
               if (ending == "cancelled") s.acquire(3);
               bool const all = s.available() == 0;
               s.release();
               return all;
             }));
}

TEST_CASE("threads: a mutex is handed off, or free", "[TRAP-05]") {
  fibers::mutex m;
  m.try_lock();
  CHECK(race([&] { m.lock(); }, [&] { m.unlock(); },
             [&](std::string const& ending) {
               if (ending == "cancelled") m.lock();
               return m.is_locked();
             }));
}

TEST_CASE("threads: a shared_mutex is handed off to readers and writers, or free") {
  fibers::shared_mutex m;
  bool const reader = GENERATE(true, false);
  m.try_lock();
  CHECK(race([&] { reader ? m.lock_shared() : m.lock(); }, [&] { m.unlock(); },
             [&](std::string const& ending) {
               if (ending == "got") reader ? m.unlock_shared() : m.unlock();
               m.lock();
               return !m.try_lock_shared();
             }));
}

TEST_CASE("threads: an event that is set wakes its waiters") {
  fibers::event e;
  CHECK(race([&] { e.wait(); }, [&] { e.set(); },
             [&](std::string const&) {
               e.wait();
               e.clear();
               return true;
             }));
}

TEST_CASE("threads: a latch at zero wakes its waiters") {
  auto l = std::make_unique<fibers::latch>(1);
  std::vector<std::unique_ptr<fibers::latch>> old;  // the last count_down() may still be running
  CHECK(race([&] { l->wait(); }, [&] { l->count_down(); },
             [&](std::string const&) {
               l->wait();
               old.push_back(std::exchange(l, std::make_unique<fibers::latch>(1)));
               return l->try_wait() == false;
             }));
}

TEST_CASE("threads: a notification reaches one of two waiters, and never one that is cancelled by it", "[TRAP-06]") {
  fibers::mutex m;
  fibers::condition_variable changed;
  int tokens = 0;
  auto const take = [&] {
    std::unique_lock lock(m);
    changed.wait(lock, [&] { return tokens > 0; });
    --tokens;
  };
  CHECK(race(
      take,
      [&] {
        std::lock_guard const lock(m);
        ++tokens;
        changed.notify_one();
      },
      [&](std::string const& ending) {
        if (ending == "cancelled") take();
        std::lock_guard const lock(m);
        return tokens == 0;
      }));
}

TEST_CASE("threads: a task cancelled at a barrier has not arrived, and a task that passed has met another",
          "[TRAP-31]") {
  fibers::barrier b(2);
  std::atomic<std::size_t> number = 0, meetings = 0;
  CHECK(race([&] { number += b.arrive_and_wait(); },
             [&] {
               number += b.arrive_and_wait();
               ++meetings;
             },
             [&](std::string const& ending) {
               if (ending == "cancelled") number += b.arrive_and_wait();
               return b.waiting() == 0;
             }));
  CHECK(number == meetings);  // in each meeting one task has index 1, the other 0
}

TEST_CASE("threads: a time limit races the releasing task") {
  fibers::queue<int> q(0);
  fibers::semaphore s(0);
  int round = 0;
  rival giver([&] {
    if (++round % 2 == 0) sleep_for(5ms);
    s.release();
    q.put(round);
  });
  std::set<bool> seen;
  bool conserved = true;
  fibers::run([&] {
    while (seen.size() < 2) {
      giver.tell();
      bool const acquired = fibers::move_on_after(1ms, [&] { s.acquire(); });
      auto const item = fibers::move_on_after(1ms, [&] { return q.get(); });
      if (!acquired) s.acquire();
      int const got = item.has_value() ? *item : q.get();
      while (!giver.idle()) this_task::yield();
      conserved = conserved && got == round && s.available() == 0 && q.empty();
      seen.insert(item.has_value());
    }
  });
  CHECK(conserved);
}

TEST_CASE("threads: three loops share all primitives, time out and are cancelled, and nothing is lost") {
  constexpr unsigned loops = 3, tasks = 4, steps = fibers::testing::sanitized ? 40 : 100;
  fibers::queue<int> few(2), meeting(0);
  fibers::mutex m, tokens_mutex;
  fibers::shared_mutex shared;
  fibers::semaphore permits(3, 3);
  fibers::condition_variable changed;
  fibers::event open;
  std::atomic<int> put = 0, got = 0, owners = 0, readers = 0, writers = 0, held = 0;
  int tokens = 0, given = 0, taken = 0;
  std::atomic<bool> broken = false;
  auto const law = [&](bool holds) {
    if (!holds) broken = true;
  };
  std::mutex handles_mutex;
  std::vector<fibers::task_handle<>> handles;

  auto const step = [&](unsigned what) {
    switch (what % 10) {
      case 0:
        few.put(1);
        ++put;
        break;
      case 1:
        meeting.put(1);
        ++put;
        break;
      case 2:
        fibers::get_any(few, meeting);
        ++got;
        break;
      case 3:
        few.get();
        ++got;
        break;
      case 4: {
        std::lock_guard const lock(m);
        presence const here(owners);
        law(owners == 1);
        this_task::yield();
        break;
      }
      case 5: {
        std::lock_guard const lock(permits);
        presence const here(held);
        law(held <= 3);
        this_task::yield();
        break;
      }
      case 6: {
        std::shared_lock const lock(shared);
        presence const here(readers);
        law(writers == 0);
        this_task::yield();
        break;
      }
      case 7: {
        std::lock_guard const lock(shared);
        presence const here(writers);
        law(writers == 1 && readers == 0);
        this_task::yield();
        break;
      }
      case 8: {
        std::unique_lock lock(tokens_mutex);
        if (what % 3 == 0) {
          ++tokens;
          ++given;
          changed.notify_one();
        } else {
          changed.wait(lock, [&] { return tokens > 0; });
          --tokens;
          ++taken;
        }
        break;
      }
      default:
        if (what % 3 == 0) return open.set();
        if (what % 3 == 1) return open.clear();
        open.wait();
    }
  };
  auto const work = [&](unsigned seed) {
    std::minstd_rand chance(seed);
    for (unsigned i = 0; i < steps; ++i) {
      try {
        fibers::move_on_after(std::chrono::microseconds(chance() % 1000),
                              [&] { step(static_cast<unsigned>(chance() >> 4U)); });
        if (chance() % 8 == 0) {
          std::scoped_lock const lock(handles_mutex);
          if (!handles.empty()) handles[chance() % handles.size()].cancel();
        }
      } catch (fibers::cancelled_error const&) {
      }
    }
  };

  std::vector<std::thread> threads;
  for (unsigned l = 0; l < loops; ++l) {
    threads.emplace_back([&, l] {
      fibers::run([&] {
        std::vector<fibers::task<void>> mine;
        for (unsigned t = 0; t < tasks; ++t) {
          mine.push_back(spawn([&, l, t] {
            this_task::yield();
            work(1000 * l + t + 1);
          }));
          std::scoped_lock const lock(handles_mutex);
          handles.push_back(mine.back().handle());
        }
        for (auto& task : mine) task.wait();
      });
    });
  }
  for (auto& thread : threads) thread.join();

  CHECK_FALSE(broken);
  CHECK((put > 0 && got > 0 && given > 0 && taken > 0));
  int left = 0;
  while (few.try_get()) ++left;
  CHECK_FALSE(meeting.try_get().has_value());
  CHECK(put == got + left);
  CHECK(given == taken + tokens);
  CHECK(permits.available() == 3);
  CHECK((m.try_lock() && tokens_mutex.try_lock() && shared.try_lock()));
}
