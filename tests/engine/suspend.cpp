// SPDX-License-Identifier: BSL-1.0
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::clock_kind;
using fibers::detail::claim;
using fibers::detail::plain_waiter;
using fibers::detail::suspend;
using fibers::detail::task_state;

namespace {

boost::source_location const place = BOOST_CURRENT_LOCATION;

template <class F>
void run_virtual(F main) {
  fibers::run({.clock = clock_kind::virtual_time}, std::move(main));
}

task_state& self() { return fibers::detail::this_task_state(place); }

template <class F>
std::string what_of(F function) {
  try {
    function();
  } catch (fibers::cancelled_error const& error) {
    return "cancelled: " + error.message();
  } catch (std::exception const& error) {
    return error.what();
  }
  return "nothing";
}

}  // namespace

TEST_CASE("suspend: functions that need a task are refused outside one, with advice") {
  CHECK(fibers::detail::running_task() == nullptr);
  CHECK_THROWS_AS(fibers::this_task::yield(), fibers::invalid_state_error);
  CHECK_THROWS_WITH(fibers::sleep_for(1s),
                    ContainsSubstring("inside of fibers::run") && ContainsSubstring("suspend.cpp:"));
  std::string in_callback;
  run_virtual([&] {
    auto task = fibers::spawn([] {});
    task.on_done([&] { in_callback = what_of([] { fibers::this_task::checkpoint(); }); });
    task.get();
    fibers::this_task::yield();
  });
  CHECK_THAT(in_callback, ContainsSubstring("a callback runs between tasks"));
}

TEST_CASE("suspend: returns once it was claimed and woken, with the kind of claim") {
  std::vector<claim> claims;
  run_virtual([&] {
    for (claim const reason : {claim::notified, claim::closed}) {
      plain_waiter w(self(), place);
      auto waker = fibers::spawn([&] {
        if (w.try_claim(reason)) fibers::detail::wake(w);
      });
      claims.push_back(suspend(w));
      waker.get();
    }
  });
  CHECK(claims == std::vector{claim::notified, claim::closed});
}

TEST_CASE("suspend: a wait that was claimed before the request keeps its result, and the request stays pending",
          "[TASK-34]") {
  claim how{};
  std::string next, order;
  run_virtual([&] {
    auto sleeper = fibers::spawn([&] {
      plain_waiter w(self(), place);
      auto waker = fibers::spawn([&, task = fibers::this_task::handle()] {
        if (w.try_claim(claim::notified)) fibers::detail::wake(w);
        task.cancel("too late");
      });
      how = suspend(w);
      fibers::detail::settle(self(), how);  // throws nothing
      next = what_of([] { fibers::this_task::checkpoint(); });
    });
    sleeper.wait();
  });
  CHECK(how == claim::notified);
  CHECK(next == "cancelled: too late");
}

TEST_CASE("suspend: a request that comes first withdraws the wait, and a later claim fails") {
  claim how{};
  bool claimed = true;
  std::string thrown;
  run_virtual([&] {
    auto sleeper = fibers::spawn([&] {
      plain_waiter w(self(), place);
      auto waker = fibers::spawn([&, task = fibers::this_task::handle()] {
        task.cancel("stop");
        claimed = w.try_claim(claim::notified);
      });
      how = suspend(w);
      thrown = what_of([&] { fibers::detail::settle(self(), how); });
      waker.get();
    });
    sleeper.get();
  });
  CHECK(how == claim::cancelled);
  CHECK_FALSE(claimed);
  CHECK(thrown == "cancelled: stop");
}

TEST_CASE("suspend: entering delivers a pending request before anything else happens") {
  std::vector<std::string> log;
  run_virtual([&] {
    fibers::this_task::cancel("a");
    log.push_back(what_of([] { fibers::detail::enter(place); }));
    log.push_back(what_of([] { fibers::detail::enter(place); }));
    fibers::this_task::cancel("b");
    log.push_back(what_of([] { fibers::sleep_for(1h); }));
    fibers::this_task::uncancel();
  });
  CHECK(log == std::vector<std::string>{"cancelled: a", "nothing", "cancelled: b"});
}

TEST_CASE("suspend: a wait that holds requests is not withdrawn") {
  claim how{};
  std::string next;
  run_virtual([&] {
    auto sleeper = fibers::spawn([&] {
      fibers::detail::uncancellable_waiter w(self(), place);
      auto waker = fibers::spawn([&, task = fibers::this_task::handle()] {
        task.cancel("later");
        fibers::sleep_for(1s);
        if (w.try_claim(claim::notified)) fibers::detail::wake(w);
      });
      how = suspend(w);
      next = what_of([] { fibers::this_task::yield(); });
      waker.get();
    });
    sleeper.get();
  });
  CHECK(how == claim::notified);
  CHECK(next == "cancelled: later");
}

TEST_CASE("suspend: during unwinding nothing is thrown, and the request stays pending") {
  fibers::duration slept{};
  std::string outcome, next;
  run_virtual([&] {
    auto sleeper = fibers::spawn([&] {
      struct sleeps {
        fibers::duration& log;
        ~sleeps() {
          auto const start = fibers::clock::now();
          fibers::this_task::yield();
          fibers::sleep_for(2s);
          log = fibers::clock::now() - start;
        }
      };
      outcome = what_of([&] {
        sleeps const guard{slept};
        throw std::runtime_error("failed");
      });
      next = what_of([] { fibers::this_task::yield(); });
    });
    fibers::sleep_for(1s);
    sleeper.cancel("while unwinding");
    sleeper.wait();
  });
  CHECK(slept == 2s);
  CHECK(outcome == "failed");
  CHECK(next == "cancelled: while unwinding");
}

TEST_CASE("suspend: another thread may claim and wake, though the loop sleeps", "[THR-17]") {
  claim how{};
  fibers::run([&] {
    plain_waiter w(self(), place);
    std::thread other([&] {
      if (w.try_claim(claim::notified)) fibers::detail::wake(w);
    });
    how = suspend(w);
    other.join();
  });
  CHECK(how == claim::notified);
}
