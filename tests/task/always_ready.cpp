// SPDX-License-Identifier: BSL-1.0

// A loop of operations that complete at once starves no other task: the 256th in a row yields first.

#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

constexpr int a_share = 256;  // operations that complete at once, before the task yields

// All operations that can be repeated without a wait, on objects that are free, set, full or ended.
class ready_things {
 public:
  ready_things() {
    event_.set();
    ended_.wait();
    queue_.put(1);
    stack_.put(1);
    heap_.put(1);
  }

  struct operation {
    std::string name;
    std::function<void()> call;
  };
  std::vector<operation> operations() {
    return {
        {"queue", [&] { queue_.put(queue_.get()); }},
        {"lifo_queue", [&] { stack_.put(stack_.get()); }},
        {"priority_queue", [&] { heap_.put(heap_.get()); }},
        {"queue::join", [&] { done_.join(); }},
        {"get_any", [&] { queue_.try_put(std::get<0>(fibers::get_any(queue_, done_))); }},
        {"mutex", [&] { std::lock_guard const guard(mutex_); }},
        {"shared_mutex", [&] { std::lock_guard const guard(shared_mutex_); }},
        {"shared_mutex, shared", [&] { shared_mutex_.lock_shared(), shared_mutex_.unlock_shared(); }},
        {"semaphore", [&] { std::lock_guard const guard(semaphore_); }},
        {"event", [&] { event_.wait(); }},
        {"latch", [&] { latch_.wait(); }},
        {"barrier", [&] { barrier_.arrive_and_wait(); }},
        {"get", [&] { ended_.handle().get(); }},
        {"task::wait", [&] { ended_.wait(); }},
        {"cancel_and_wait", [&] { ended_.cancel_and_wait(); }},
        {"cancel_and_wait of a range", [&] { fibers::cancel_and_wait(std::vector{ended_.handle()}); }},
        {"wait", [&] { fibers::wait(std::vector{ended_.handle()}); }},
        {"wait_for", [&] { fibers::wait_for(ended_handle_, 1h); }},
        {"shield", [&] { fibers::shield(ended_handle_); }},
        {"gather", [&] { fibers::gather(ended_handle_, ended_handle_); }},
        {"as_completed", [&] { fibers::as_completed(std::vector{ended_handle_}).next(); }},
        {"checkpoint", [&] { this_task::checkpoint(); }},
    };
  }

 private:
  fibers::queue<int> queue_, done_;
  fibers::lifo_queue<int> stack_;
  fibers::priority_queue<int> heap_;
  fibers::mutex mutex_;
  fibers::shared_mutex shared_mutex_;
  fibers::semaphore semaphore_{1};
  fibers::event event_;
  fibers::latch latch_{0};
  fibers::barrier barrier_{1};
  fibers::task<void> const ended_ = spawn([] {});
  fibers::task_handle<void> const ended_handle_ = ended_.handle();
};

}  // namespace

TEST_CASE_METHOD(virtual_time,
                 "always ready: other tasks run while one task performs only operations that complete at once") {
  std::string late;
  run([&] {
    ready_things things;
    for (auto const& operation : things.operations()) {
      this_task::yield();
      bool ran = false;
      auto const other = spawn([&] { ran = true; });
      for (int i = 0; i <= a_share && !ran; ++i) operation.call();
      if (!ran) late += operation.name + "; ";
    }
  });
  CHECK(late == "");
}

TEST_CASE_METHOD(virtual_time,
                 "always ready: an operation that completes at once delivers a cancellation by another task") {
  std::string missed;
  run([&] {
    ready_things things;
    for (auto const& operation : things.operations()) {
      int calls = 0;
      auto const looping = spawn([&] {
        for (; calls < 4 * a_share; ++calls) operation.call();
      });
      this_task::yield();
      looping.cancel();
      looping.wait();
      if (!looping.cancelled() || calls > 2 * a_share) missed += operation.name + "; ";
    }
  });
  CHECK(missed == "");
}

TEST_CASE_METHOD(virtual_time, "always ready: a task that sometimes waits, or ends soon, is not made to yield") {
  run([&] {
    fibers::event set;
    set.set();
    bool stop = false, ran = false;
    auto const others = spawn([&] {
      while (!stop) {
        ran = true;
        this_task::yield();
      }
    });
    for (int round = 0; round < 3; ++round) {
      this_task::yield();
      ran = false;
      for (int i = 0; i < a_share - 10; ++i) set.wait();
      seen(ran ? "made to yield" : "not made to yield");
    }
    std::string order;
    std::vector<fibers::task<void>> tasks;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(spawn([&] {
        order += "(";
        for (int call = 0; call < 100; ++call) set.wait();
        order += ")";
      }));
    }
    for (auto& each : tasks) each.wait();
    stop = true;
    seen(order);
  });
  CHECK(seen == "not made to yield@0, not made to yield@0, not made to yield@0, ()()()()()@0");
}

TEST_CASE_METHOD(virtual_time, "always ready: yield() and sleep_for() yield once, also when the budget is used up") {
  run([&] {
    fibers::event set;
    set.set();
    int turns = 0;
    bool stop = false;
    auto const other = spawn([&] {
      while (!stop) {
        ++turns;
        this_task::yield();
      }
    });
    for (auto const& call :
         std::vector<std::function<void()>>{[] { this_task::yield(); }, [] { fibers::sleep_for(0s); }}) {
      this_task::yield();
      turns = 0;
      for (int i = 0; i < a_share - 1; ++i) set.wait();
      call();
      seen(std::to_string(turns));
    }
    stop = true;
  });
  CHECK(seen == "1@0, 1@0");
}

TEST_CASE_METHOD(virtual_time,
                 "always ready: a destructor called by unwinding yields too, and no cancellation leaves it") {
  run([&] {
    fibers::event set;
    set.set();
    bool other_ran = false, other_ran_meanwhile = false;
    auto const wait_often = [&] {
      for (int i = 0; i < 2 * a_share; ++i) set.wait();
      other_ran_meanwhile = other_ran;
    };
    struct at_the_end {
      std::function<void()> call;
      ~at_the_end() { call(); }
    };
    fibers::task_handle<> looping;
    auto const task = spawn([&] {
      looping = this_task::handle();
      try {
        at_the_end const destroyed{wait_often};
        throw std::runtime_error("no");
      } catch (std::runtime_error const& error) {
        seen(error.what());
      }
      seen(how([] { this_task::yield(); }));
    });
    auto const other = spawn([&] {
      other_ran = true;
      looping.cancel("later");
    });
    task.wait();
    seen(other_ran_meanwhile ? "the other ran meanwhile" : "the other ran later");
  });
  CHECK(seen == "no@0, cancelled: later@0, the other ran meanwhile@0");
}

TEST_CASE("always ready: a sweep counts the yield as a cancellation point of its own") {
  constexpr std::size_t waits = a_share + a_share / 2;
  auto const runs = fibers::testing::cancel_sweep([] {
    fibers::event set;
    set.set();
    for (std::size_t i = 0; i < waits; ++i) set.wait();
  });
  CHECK(runs == waits + 1 + 1);  // and one run without a cancellation
}

TEST_CASE("always ready: an exploration finds a fault that occurs only if another task runs at the yield") {
  auto const body = [] {
    fibers::event set;
    set.set();
    int value = 0;
    auto const other = spawn([&] { value = 1; });
    for (int i = 0; i < a_share + 1; ++i) set.wait();
    if (value != 0) throw std::runtime_error("the other task ran");
  };
  CHECK_THROWS_AS(fibers::testing::explore(body, 20), fibers::testing::failure);
}

// --- in real time ---

namespace {

// Calls repeatedly until `enough` returns true, or the call throws. Returns false after ten seconds.
bool call_until(std::function<bool()> const& enough, std::function<void()> const& call) {
  for (auto const end = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < end;) {
    for (int i = 0; i < a_share; ++i) call();
    if (enough()) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("always ready: a timeout ends a loop of operations that complete at once, and timers fire meanwhile") {
  std::string missed;
  fibers::run([&] {
    ready_things things;
    for (auto const& operation : things.operations()) {
      int ticks = 0;
      auto const ticker = spawn([&] {
        for (;; ++ticks) fibers::sleep_for(100us);
      });
      bool const ticked = call_until([&] { return ticks > 0; }, operation.call);
      bool const in_time = !fibers::move_on_after(5ms, [&] { call_until([] { return false; }, operation.call); });
      if (!ticked || !in_time) missed += operation.name + "; ";
    }
  });
  CHECK(missed == "");
}

TEST_CASE("always ready: another thread can cancel a task whose operations all complete at once") {
  std::string ended;
  fibers::run([&] {
    fibers::mutex mutex;
    auto const looping = spawn([&] { call_until([] { return false; }, [&] { std::lock_guard const guard(mutex); }); });
    std::thread other([handle = looping.handle()] { handle.cancel("by another thread"); });
    ended = how([&] { looping.handle().get(); });
    other.join();
  });
  CHECK(ended == "cancelled: by another thread");
}
