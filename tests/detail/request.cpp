// SPDX-License-Identifier: BSL-1.0
#include <atomic>
#include <fibers/detail/request.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::cancel_origin;
using fibers::cancelled_error;
using fibers::clock_kind;

namespace {

template <class F>
void run_virtual(F main) {
  fibers::run({.clock = clock_kind::virtual_time}, std::move(main));
}

void for_ever() { fibers::sleep_for(fibers::no_timeout); }

}  // namespace

TEST_CASE("request: knows who asked, where, when and what for") {
  cancelled_error error;
  fibers::duration when{};
  auto const place = BOOST_CURRENT_LOCATION;
  run_virtual([&] {
    auto const start = fibers::clock::now();
    fibers::sleep_for(3s);
    error = fibers::detail::make_request("enough", cancel_origin::kind::race, place);
    when = error.origin().time - start;
  });
  CHECK(error.message() == "enough");
  CHECK(error.origin().task == "main");
  CHECK(error.origin().place.line() == place.line());
  CHECK(error.origin().via == cancel_origin::kind::race);
  CHECK(when == 3s);
  CHECK(fibers::detail::make_request("", cancel_origin::kind::by_hand, place).origin().task.empty());
}

TEST_CASE("request: a cycle of waits is refused where it closes, and the others end", "[TRAP-26][TASK-04]") {
  std::string text;
  run_virtual([&] {
    fibers::task<void> a, b, c;
    a = fibers::spawn("a", [&] { b.get(); });
    b = fibers::spawn("b", [&] { c.get(); });
    c = fibers::spawn("c", [&] {
      try {
        a.get();
      } catch (fibers::invalid_state_error const& error) {
        text = error.what();
      }
    });
    a.get();
  });
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("'c' -> 'a' -> 'b' -> 'c'"));
}

TEST_CASE("request: two tasks that drain each other can be cancelled", "[TRAP-26]") {
  // wait() passes nothing on, so this is no cycle of requests.
  int cancelled = 0;
  run_virtual([&] {
    fibers::task<void> a, b;
    a = fibers::spawn([&] { b.wait(); });
    b = fibers::spawn([&] { a.wait(); });
    fibers::this_task::yield();
    a.cancel();
    b.cancel();
    a.wait();
    b.wait();
    cancelled = (a.cancelled() ? 1 : 0) + (b.cancelled() ? 1 : 0);
  });
  CHECK(cancelled == 2);
}

TEST_CASE("request: a plain thread cancels a task of a sleeping loop") {
  cancelled_error error;
  bool accepted = false, again = true;
  fibers::run([&] {
    auto task = fibers::spawn([&] {
      try {
        for_ever();
      } catch (cancelled_error const& e) {
        error = e;
        throw;
      }
    });
    fibers::this_task::yield();
    std::thread other([&, handle = task.handle()] { accepted = handle.cancel("from a thread"); });
    task.wait();
    other.join();
    again = task.cancel();
  });
  CHECK(accepted);
  CHECK_FALSE(again);
  CHECK(error.message() == "from a thread");
  CHECK(error.origin().task.empty());
}

TEST_CASE("request: one that a thread makes as the task returns is accepted or not, and the result stands") {
  std::atomic<fibers::task_handle<>*> target = nullptr;
  std::atomic<int> answers = 0;
  std::atomic<bool> accepted = false, stop = false;
  std::thread canceller([&] {
    while (!stop) {
      auto* const task = target.exchange(nullptr);
      if (task == nullptr) {
        std::this_thread::yield();
        continue;
      }
      accepted = task->cancel();
      ++answers;
    }
  });
  std::set<bool> seen;
  bool consistent = true;
  fibers::run([&] {
    for (int round = 1; seen.size() < 2; ++round) {
      fibers::task<int> task = fibers::spawn([&] {
        for (int i = 0; i < round % 50; ++i) fibers::this_task::yield();
        if (round % 2 == 0) std::this_thread::yield();  // where the threads share a processor
        fibers::this_task::yield();
        return 5;
      });
      fibers::task_handle<> handle = task.handle();
      target = &handle;
      task.wait();
      while (answers != round) std::this_thread::yield();
      // A request that comes before the last suspension point is delivered there.
      consistent = consistent && task.cancelling() == (accepted ? 1 : 0) && (accepted || !task.cancelled());
      if (!task.cancelled()) consistent = consistent && task.get() == 5;
      seen.insert(accepted);
    }
  });
  stop = true;
  canceller.join();
  CHECK(consistent);
}

TEST_CASE("request: thousands that several threads make at once are all counted, and the sleeper misses none") {
  constexpr int threads = 2, each = 3000;
  std::atomic<int> accepted = 0;
  bool stop = false;
  int caught = 0, counted = 0;
  fibers::run([&] {
    auto task = fibers::spawn([&] {
      while (!stop) {
        try {
          for_ever();
        } catch (cancelled_error const&) {
          ++caught;
        }
      }
    });
    fibers::this_task::yield();  // it has begun
    std::vector<std::thread> cancellers;
    for (int i = 0; i < threads; ++i) {
      cancellers.emplace_back([&, handle = task.handle()] {
        for (int n = 0; n < each; ++n) accepted += handle.cancel() ? 1 : 0;
      });
    }
    while (accepted < threads * each) fibers::sleep_for(100us);
    for (auto& thread : cancellers) thread.join();
    stop = true;
    task.cancel();
    task.wait();
    counted = task.cancelling();
  });
  CHECK(accepted == threads * each);
  CHECK(counted == accepted + 1);
  CHECK(caught >= 1);
  CHECK(caught <= counted);
}

TEST_CASE("request: one that a thread makes reaches a busy loop at its checkpoints") {
  int cancelled = 0;
  fibers::run([&] {
    for (int round = 0; round < 50; ++round) {
      std::thread other([handle = fibers::this_task::handle()] { handle.cancel(); });
      try {
        for (;;) fibers::this_task::checkpoint();
      } catch (cancelled_error const&) {
        ++cancelled;
      }
      other.join();
    }
  });
  CHECK(cancelled == 50);
}

TEST_CASE("request: passes from a task of one loop to the task of another that it waits for") {
  std::string inner, outer;
  fibers::task_handle<> far;
  std::atomic<bool> there = false;
  std::thread other([&] {
    fibers::run([&] {
      auto task = fibers::spawn([&] {
        try {
          for_ever();
        } catch (cancelled_error const& error) {
          inner = error.message();
          throw;
        }
      });
      fibers::this_task::yield();  // it has begun
      far = task.handle();
      there = true;
      task.wait();
    });
  });
  while (!there) std::this_thread::yield();
  fibers::run([&] {
    auto waits = fibers::spawn([&] { far.get(); });
    fibers::this_task::yield();
    waits.cancel("through");
    try {
      waits.get();
    } catch (cancelled_error const& error) {
      outer = error.message();
    }
  });
  other.join();
  CHECK(inner == "through");
  CHECK(outer == "through");
}
