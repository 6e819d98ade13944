// SPDX-License-Identifier: BSL-1.0

// Every primitive, swept: at whichever point a body is cancelled, nothing is lost, nothing hangs, and nothing is left.

#include <fibers/fibers.hpp>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "sweeps.hpp"

using namespace std::chrono_literals;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_group;
using fibers::with_task_group;
using fibers::testing::stands_anything;

namespace {

void require(bool holds, char const* what) {
  if (!holds) throw std::logic_error(what);
}

// The check runs when the block is left in any way; it waits, and is not interrupted.
template <class F>
auto at_end(F f) {
  return fibers::cleanup_guard<F>(std::move(f));
}

}  // namespace

TEST_CASE("event: swept, waiters are woken or withdrawn") {
  stands_anything([] {
    fibers::event ready;
    with_task_group([&](task_group& group) {
      group.spawn([&] { ready.wait(); });
      group.spawn([&] { ready.wait(); });
      group.spawn([&] {
        sleep_for(1s);
        ready.set();
      });
    });
  });
}

TEST_CASE("mutex: swept, it is free again at the end") {
  stands_anything([] {
    fibers::mutex lock;
    int inside = 0;
    auto const free_again = at_end([&] {
      std::scoped_lock const held(lock);
      require(inside == 0, "somebody is inside of the lock");
    });
    auto const use = [&] {
      std::scoped_lock const held(lock);
      require(++inside == 1, "two are inside of the lock");
      auto const out = at_end([&] { --inside; });
      sleep_for(1s);
    };
    with_task_group([&](task_group& group) {
      for (int i = 0; i < 3; ++i) group.spawn(use);
    });
  });
}

TEST_CASE("shared_mutex: swept, it is free again at the end") {
  stands_anything([] {
    fibers::shared_mutex lock;
    auto const free_again = at_end([&] { std::unique_lock const held(lock); });
    auto const read = [&] {
      std::shared_lock const held(lock);
      sleep_for(1s);
    };
    auto const write = [&] {
      std::unique_lock const held(lock);
      sleep_for(1s);
    };
    with_task_group([&](task_group& group) {
      group.spawn(read);
      group.spawn(write);
      group.spawn(read);
    });
  });
}

TEST_CASE("semaphore: swept, its permits are all there again") {
  stands_anything([] {
    fibers::semaphore permits(2);
    auto const complete = at_end([&] { permits.acquire(2); });
    auto const use = [&] {
      permits.acquire();
      auto const back = at_end([&] { permits.release(); });
      sleep_for(1s);
    };
    with_task_group([&](task_group& group) {
      for (int i = 0; i < 4; ++i) group.spawn(use);
    });
  });
}

TEST_CASE("condition_variable: swept, the lock is held again after each wait, and a notification is used") {
  stands_anything([] {
    fibers::mutex lock;
    fibers::condition_variable changed;
    bool ready = false;
    auto const free_again = at_end([&] { std::scoped_lock const held(lock); });
    auto const wait = [&] {
      std::unique_lock held(lock);
      auto const still_held = at_end([&] { require(!lock.try_lock(), "the lock is not held"); });
      changed.wait(held, [&] { return ready; });
      changed.notify_one();
    };
    with_task_group([&](task_group& group) {
      group.spawn(wait);
      group.spawn(wait);
      group.spawn([&] {
        sleep_for(1s);
        std::scoped_lock const held(lock);
        ready = true;
        changed.notify_one();
      });
    });
  });
}

TEST_CASE("barrier: swept, no party waits for one that has left") {
  stands_anything([] {
    fibers::barrier all_there(3);
    with_task_group([&](task_group& group) {
      for (int i = 0; i < 3; ++i) {
        group.spawn([&all_there, i] {
          auto const broken = [&] { all_there.abort(); };
          try {
            sleep_for(i * 1s);
            all_there.arrive_and_wait();
          } catch (fibers::cancelled_error const&) {
            broken();
            throw;
          } catch (fibers::broken_barrier_error const&) {
          }
        });
      }
    });
  });
}

TEST_CASE("latch: swept, waiters are woken or withdrawn") {
  stands_anything([] {
    fibers::latch count(2);
    with_task_group([&](task_group& group) {
      group.spawn([&] { count.wait(); });
      group.spawn([&] {
        sleep_for(1s);
        count.count_down();
      });
      group.spawn([&] { count.arrive_and_wait(); });
    });
  });
}

TEST_CASE("queue: swept, no item is lost and none is duplicated") {
  auto const capacity = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{5});
  stands_anything([=] {
    fibers::queue<int> items(capacity);
    std::vector<int> put, got;
    auto const conserved = at_end([&] {
      while (auto const left = items.try_get()) got.push_back(*left);
      require(put == got, "what was put is not what was got");
    });
    with_task_group([&](task_group& group) {
      group.spawn([&] {
        for (int i = 0; i < 3; ++i) {
          items.put(i);
          put.push_back(i);
        }
      });
      group.spawn([&] {
        for (int i = 0; i < 3; ++i) {
          auto const item = items.get();
          got.push_back(item);
          sleep_for(1s);
        }
      });
    });
  });
}

TEST_CASE("queue: swept, join and shutdown let all tasks continue") {
  stands_anything([] {
    fibers::queue<std::string> items(1);
    with_task_group([&](task_group& group) {
      for (int i = 0; i < 2; ++i) {
        group.spawn([&] {
          try {
            for (;;) {
              items.get();
              items.task_done();
            }
          } catch (fibers::queue_shut_down const&) {
          }
        });
      }
      items.put("one");
      items.put("two");
      items.join();
      items.shutdown();
    });
  });
}

TEST_CASE("get_any: swept, an item comes from one queue and stays in the other") {
  stands_anything([] {
    fibers::queue<int> left(3), right(3);
    int put = 0, got = 0;
    auto const conserved = at_end([&] {
      while (left.try_get() || right.try_get()) ++got;
      require(put == got, "an item is lost");
    });
    with_task_group([&](task_group& group) {
      for (auto* const side : {&left, &right}) {
        group.spawn([&put, side] {
          for (int i = 0; i < 2; ++i) {
            side->put(1);
            ++put;
            sleep_for(1s);
          }
        });
      }
      for (int i = 0; i < 4; ++i) {
        fibers::get_any(left, right);
        ++got;
      }
    });
  });
}
