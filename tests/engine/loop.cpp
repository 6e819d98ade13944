// SPDX-License-Identifier: BSL-1.0
#include "../../fibers/detail/engine/loop.hpp"

#include <atomic>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/this_loop.hpp>
#include <fibers/detail/parts/parker.hpp>
#include <fibers/run.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "../../fibers/detail/parts/thread_parker.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using Catch::Matchers::ContainsSubstring;
using fibers::clock_kind;
using fibers::time_point;
using fibers::detail::claim;
using fibers::detail::loop;
using fibers::detail::parker;
using fibers::detail::parker_source;
using fibers::detail::plain_waiter;

namespace {

boost::source_location const here = BOOST_CURRENT_LOCATION;

// Sleeps like a thread, and calls a function before.
class spy final : public parker {
 public:
  explicit spy(std::function<void()> before) : before_(std::move(before)) {}
  void park(time_point deadline) override {
    before_();
    thread_.park(deadline);
  }
  void unpark() noexcept override { thread_.unpark(); }
  bool busy() override { return busy_ && busy_(); }
  std::function<bool()> busy_;

 private:
  std::function<void()> before_;
  fibers::detail::thread_parker thread_;
};

template <class F>
void run_with(std::unique_ptr<parker> how_to_sleep, F main, clock_kind clock = clock_kind::steady) {
  fibers::detail::run(fibers::run_options{.clock = clock}, main, std::move(how_to_sleep), here);
}

}  // namespace

TEST_CASE("loop: sleeps with the parker that run() was given") {
  int parks = 0;
  run_with(std::make_unique<spy>([&] { ++parks; }), [] { fibers::sleep_for(1ms); });
  CHECK(parks > 0);
}

TEST_CASE("loop: sleeps with a new parker from when it is set, and wakers of the old one do no harm") {
  int parks = 0;
  bool none_at_first = false;
  parker* chosen = nullptr;
  fibers::run([&] {
    fibers::sleep_for(1ms);
    none_at_first = fibers::detail::chosen_parker(here) == nullptr && parks == 0;
    fibers::detail::choose_parker(std::make_unique<spy>([&] { ++parks; }));
    chosen = fibers::detail::chosen_parker(here);
    fibers::sleep_for(1ms);
  });
  CHECK(none_at_first);
  CHECK(chosen != nullptr);
  CHECK(parks > 0);
  CHECK_THROWS_WITH(fibers::detail::chosen_parker(here), ContainsSubstring("call it inside of fibers::run"));
}

TEST_CASE("loop: its parker may change while another thread wakes it continuously, and no wake-up is lost") {
  for (int round = 0; round < 200; ++round) {
    fibers::run([&] {
      auto& self = fibers::detail::this_task_state(here);
      std::atomic<bool> slept = false;
      plain_waiter w(self, here);
      std::thread other([&] {
        for (int i = 0; i < round; ++i) self.loop().ring();
        slept = true;
        if (w.try_claim(claim::notified)) wake(w);
      });
      if (round % 2 == 0) std::this_thread::yield();
      fibers::detail::choose_parker(std::make_unique<spy>([] {}));
      CHECK(suspend(w) == claim::notified);
      other.join();
    });
  }
}

TEST_CASE("loop: a loop without a parker asks the thread's newest source for one") {
  auto const parker_chosen = [] {
    bool chosen = false;
    fibers::run([&] { chosen = fibers::detail::chosen_parker() != nullptr; });
    return chosen;
  };
  parker_source::function const none = []() -> std::unique_ptr<parker> { return nullptr; };
  parker_source::function const some = []() -> std::unique_ptr<parker> { return std::make_unique<spy>([] {}); };
  CHECK_FALSE(parker_chosen());
  std::optional<parker_source> first(some), second(none);
  CHECK_FALSE(parker_chosen());
  second.reset();
  CHECK(parker_chosen());
  second.emplace(none);
  first.reset();  // in any order
  CHECK_FALSE(parker_chosen());
  second.reset();
  CHECK_FALSE(parker_chosen());
}

TEST_CASE("loop: a loop with a parker asks no source, and neither does another thread's loop") {
  static constinit int asked = 0;
  parker_source const source([]() -> std::unique_ptr<parker> {
    ++asked;
    return nullptr;
  });
  asked = 0;
  run_with(std::make_unique<spy>([] {}), [] { fibers::sleep_for(1ms); });
  std::thread([] { fibers::run([] {}); }).join();
  CHECK(asked == 0);
  fibers::run([] {});
  CHECK(asked == 1);
}

TEST_CASE("loop: while one is absent from its thread another runs there, each in its own time") {
  record seen;
  bool nested = false;
  auto const run_another = [&] {
    if (std::exchange(nested, true)) return;
    fibers::detail::loop_absence const absence;
    CHECK(loop::current() == nullptr);
    CHECK(fibers::clock::now() - std::chrono::steady_clock::now() < 1s);  // real time
    fibers::run({.clock = clock_kind::virtual_time}, [&] {
      seen("inner begins");
      fibers::sleep_for(5s);
      seen("inner ends");
    });
  };
  auto host = std::make_unique<spy>(run_another);
  host->busy_ = [&] { return !nested; };  // so that it is parked, also in virtual time
  run_with(
      std::move(host),
      [&] {
        fibers::sleep_for(2ms);
        seen("outer");
        auto task = fibers::spawn([&] { seen("task"); });
        task.get();
      },
      clock_kind::virtual_time);
  CHECK(loop::current() == nullptr);
  // The outer clock followed the real one while the loop was parked.
  CHECK(seen == "inner begins@0, inner ends@5, outer@0.002, task@0.002");
}

TEST_CASE("loop: in virtual time a busy parker is waited for, otherwise time jumps") {
  record seen;
  auto host = std::make_unique<spy>([] {});
  host->busy_ = [&] { return !seen.contains("short"); };
  auto const before = std::chrono::steady_clock::now();
  run_with(
      std::move(host),
      [&] {
        fibers::sleep_for(1ms);
        seen("short");
        fibers::sleep_for(1h);
        seen("long");
      },
      clock_kind::virtual_time);
  CHECK(seen == "short@0.001, long@3600");
  CHECK(std::chrono::steady_clock::now() - before >= 1ms);
}

TEST_CASE("loop: in virtual time an external event is waited for, and is no deadlock") {
  claim how = claim::none;
  fibers::duration passed{};
  fibers::run({.clock = clock_kind::virtual_time}, [&] {
    auto const start = fibers::clock::now();
    plain_waiter w(fibers::detail::this_task_state(here), here);
    std::thread other([&] {
      std::this_thread::sleep_for(1ms);
      if (w.try_claim(claim::notified)) wake(w);
    });
    fibers::detail::outside_wait const outside(w.task());
    how = suspend(w);
    passed = fibers::clock::now() - start;
    other.join();
  });
  CHECK(how == claim::notified);
  CHECK(passed > 0ms);
}

// --- waits that are told of requests ---

namespace {

struct operation final : fibers::detail::waiter {
  operation() : waiter(fibers::detail::this_task_state(here), here) {}
  fibers::detail::answer on_cancel() noexcept override {
    ++requests;
    if (ends_when_told) end();
    return fibers::detail::answer::told;
  }
  void end() noexcept {
    if (try_claim(claim::notified)) wake(*this);
  }
  bool ends_when_told = false;
  int requests = 0;
};

}  // namespace

TEST_CASE("loop: a wait that is notified of a request continues, and the request stays pending") {
  claim how = claim::none;
  int requests = 0;
  std::string ended;
  fibers::run({.clock = clock_kind::virtual_time}, [&] {
    operation* running = nullptr;
    auto task = fibers::spawn([&] {
      operation one;
      running = &one;
      how = suspend(one);
      requests = one.requests;
      fibers::this_task::checkpoint();
    });
    fibers::this_task::yield();
    task.cancel("first");
    task.cancel("second");
    fibers::this_task::yield();
    running->end();
    ended = fibers::testing::how([&] { task.get(); });
  });
  CHECK(how == claim::notified);
  CHECK(requests == 2);
  CHECK(ended == "cancelled: second");  // thrown as one, with the message of the latest request
}

TEST_CASE("loop: a wait may end itself when it is notified, also of another thread's request") {
  bool const elsewhere = GENERATE(true, false);
  std::string ended;
  fibers::run([&] {
    auto task = fibers::spawn([&] {
      operation one;
      one.ends_when_told = true;
      fibers::detail::outside_wait const outside(one.task());
      static_cast<void>(suspend(one));
      fibers::this_task::checkpoint();
    });
    fibers::this_task::yield();
    if (elsewhere) {
      std::thread([handle = task.handle()]() mutable { handle.cancel("enough"); }).join();
    } else {
      task.cancel("enough");
    }
    ended = how([&] { task.get(); });
  });
  CHECK(ended == "cancelled: enough");
}

TEST_CASE("loop: within a shield a wait is not notified of a request from outside it") {
  int requests = -1;
  fibers::run({.clock = clock_kind::virtual_time}, [&] {
    operation* running = nullptr;
    auto task = fibers::spawn([&] {
      fibers::with_shield([&] {
        operation one;
        running = &one;
        [[maybe_unused]] auto const notified = suspend(one);
        requests = one.requests;
      });
    });
    fibers::this_task::yield();
    task.cancel();
    running->end();
    task.wait();
  });
  CHECK(requests == 0);
}
