// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <atomic>
#include <fibers/detail/engine/request.hpp>
#include <fibers/gather.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
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

TEST_CASE("request: records the requesting task, call site, time and reason") {
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

TEST_CASE("request: a cycle of waits is refused where it closes, and the other waits end", "[TRAP-26][TASK-04]") {
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
  // wait() forwards nothing, so this is not a cycle of requests.
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

TEST_CASE("request: made by a thread as the task returns it is accepted or not, and the result stands") {
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
        if (round % 2 == 0) std::this_thread::yield();  // for threads that share a processor
        fibers::this_task::yield();
        return 5;
      });
      fibers::task_handle<> handle = task.handle();
      target = &handle;
      task.wait();
      while (answers != round) std::this_thread::yield();
      // A request that arrives before the last suspension point is delivered there.
      consistent = consistent && task.cancelling() == (accepted ? 1 : 0) && (accepted || !task.cancelled());
      if (!task.cancelled()) consistent = consistent && task.get() == 5;
      seen.insert(accepted);
    }
  });
  stop = true;
  canceller.join();
  CHECK(consistent);
}

TEST_CASE("request: thousands that several threads make at once are all counted, and the sleeping task misses none") {
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
    fibers::this_task::yield();  // the task has begun
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

TEST_CASE("request: a request of another thread reaches a busy loop at its checkpoints") {
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

TEST_CASE("request: forwarded from a task of one loop to the task of another for which it waits") {
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
      fibers::this_task::yield();  // the task has begun
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

// --- one round asks each task once ---

TEST_CASE("request: one cancel asks each task of a diamond once, however many paths lead to it") {
  constexpr std::size_t layers = 40;
  std::vector<int> asked;
  fibers::run({.clock = fibers::clock_kind::virtual_time}, [&] {
    std::vector<std::vector<fibers::task_handle<void>>> nodes(layers + 1);
    for (std::size_t k = nodes.size(); k-- > 0;) {
      for (int i = 0; i < 2; ++i) {
        nodes[k].push_back(fibers::spawn([&, k] {
                             if (k == layers) return fibers::sleep_for(std::chrono::hours(1));
                             fibers::gather(nodes[k + 1][0], nodes[k + 1][1]);
                           }).detach());
      }
    }
    fibers::this_task::yield();
    nodes[0][0].cancel();
    for (auto& layer : nodes) {
      for (auto& task : layer) asked.push_back(task.cancelling());
    }
    nodes[0][1].cancel();  // a new act of cancelling, so it asks again
    asked.push_back(nodes[layers][0].cancelling());
    for (auto& layer : nodes) {
      for (auto& task : layer) task.wait();
    }
  });
  std::sort(asked.begin(), asked.end());
  CHECK(asked.front() == 0);  // the other task of the top row
  CHECK(asked.back() == 2);
  CHECK(std::count(asked.begin(), asked.end(), 1) == static_cast<std::ptrdiff_t>(2 * layers + 1));
}

TEST_CASE("request: a group that ends asks each member of a chain of joins once") {
  std::set<int> asked;
  fibers::run({.clock = fibers::clock_kind::virtual_time}, [&] {
    std::vector<fibers::task_handle<>> members;
    fibers::with_task_group([&](fibers::task_group& group) {
      members.push_back(group.spawn([] { fibers::sleep_for(std::chrono::hours(1)); }));
      for (int i = 0; i < 100; ++i) members.push_back(group.spawn([next = members.back()] { next.get(); }));
      fibers::this_task::yield();
      group.cancel_all();
    });
    for (auto const& member : members) asked.insert(member.cancelled() ? member.cancelling() : -1);
  });
  CHECK(asked == std::set{1});
}

TEST_CASE("request: one cancel asks a task of another loop once, though two paths lead to it") {
  std::atomic<fibers::task_handle<>*> shared = nullptr;
  std::atomic<int> asked = -1;
  std::thread other([&] {
    fibers::run([&] {
      auto task = fibers::spawn([] { fibers::sleep_for(std::chrono::hours(1)); });
      fibers::this_task::yield();
      fibers::task_handle<> handle = task.handle();
      shared = &handle;
      task.wait();
      asked = task.cancelling();
    });
  });
  fibers::run([&] {
    while (shared == nullptr) std::this_thread::yield();
    auto const there = *shared;
    auto const one = fibers::spawn([&] { there.get(); }), two = fibers::spawn([&] { there.get(); });
    auto const both = fibers::spawn([a = one.handle(), b = two.handle()] { fibers::gather(a, b); });
    fibers::this_task::yield();
    both.handle().cancel();
    both.handle().wait();
    one.handle().wait();
    two.handle().wait();
  });
  other.join();
  CHECK(asked == 1);
}
