// SPDX-License-Identifier: BSL-1.0

// Tasks as seen by other threads.

#include <atomic>
#include <fibers/event.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <latch>
#include <string>
#include <thread>

#include "catch.hpp"

using namespace std::chrono_literals;

TEST_CASE("task: seen from another thread it is not cancelled before it has cleaned up", "[TRAP-28]") {
  fibers::event never, may_end;
  std::atomic<bool> cleans_up = false;
  bool accepted = false, done_meanwhile = true, cancelled_meanwhile = true, cancelled_at_last = false;
  fibers::run([&] {
    auto task = fibers::spawn([&] {
      try {
        never.wait();
      } catch (fibers::cancelled_error const&) {
        cleans_up = true;
        may_end.wait();
        throw;
      }
    });
    fibers::this_task::yield();  // otherwise it may be cancelled before it begins
    std::thread other([&, handle = task.handle()] {
      accepted = handle.cancel();
      while (!cleans_up) std::this_thread::yield();
      done_meanwhile = handle.done();
      cancelled_meanwhile = handle.cancelled();
      may_end.set();
    });
    task.wait();
    cancelled_at_last = task.cancelled();
    other.join();
  });
  CHECK(accepted);
  CHECK_FALSE(done_meanwhile);
  CHECK_FALSE(cancelled_meanwhile);
  CHECK(cancelled_at_last);
}

TEST_CASE("run: loops of several threads are independent", "[THR-19]") {
  struct seen {
    std::string before, after;
    fibers::duration slept = 0s;
  };
  std::latch both_run(2), both_done(2);
  auto const loop = [&](std::string const& name, fibers::duration length, seen& result) {
    fibers::run({.clock = fibers::clock_kind::virtual_time}, [&] {
      auto const start = fibers::clock::now();
      auto task = fibers::spawn(name, [&] {
        both_run.arrive_and_wait();
        result.before = fibers::this_task::name();
        fibers::sleep_for(length);
        result.after = fibers::this_task::name();
        both_done.arrive_and_wait();
      });
      task.get();
      result.slept = fibers::clock::now() - start;
    });
  };
  seen first, second;
  std::thread other([&] { loop("there", 24h, second); });
  loop("here", 1s, first);
  other.join();
  CHECK((first.before == "here" && first.after == "here" && first.slept == 1s));
  CHECK((second.before == "there" && second.after == "there" && second.slept == 24h));
}
