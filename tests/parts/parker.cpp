// SPDX-License-Identifier: BSL-1.0
#include <atomic>
#include <csignal>
#include <ctime>
#include <fibers/clock.hpp>
#include <thread>

#include "../../fibers/detail/parts/thread_parker.hpp"
#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::time_point;
using fibers::detail::thread_parker;
using fibers::detail::virtual_clock;

namespace {
thread_parker* woken_by_signal = nullptr;
}

TEST_CASE("parker: an unpark before park is not lost, and counts once") {
  thread_parker parker;
  parker.unpark();
  parker.unpark();
  auto const start = std::chrono::steady_clock::now();
  parker.park(start + 60s);
  CHECK(std::chrono::steady_clock::now() < start + 30s);
  auto const deadline = std::chrono::steady_clock::now() + 2ms;
  int parks = 0;
  for (; std::chrono::steady_clock::now() < deadline; ++parks) parker.park(deadline);
  CHECK(parks > 0);  // the second unpark is not kept for this one
}

TEST_CASE("parker: does not sleep if the deadline has passed, even if it lies before the clock's epoch") {
  thread_parker parker;
  auto const start = std::chrono::steady_clock::now();
  parker.park(start - 1h);
  parker.park(time_point{});
  parker.park(time_point::min());
  CHECK(std::chrono::steady_clock::now() < start + 30s);
}

TEST_CASE("parker: sleeps until the deadline, and uses no processor time meanwhile") {
  auto const cpu = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  thread_parker parker;
  auto const start = std::chrono::steady_clock::now();
  auto const cpu_start = cpu();
  parker.park(start + 50ms);
  auto const used = cpu() - cpu_start;
  auto const passed = std::chrono::steady_clock::now() - start;
  CHECK(passed >= 50ms);  // no thread unparks it here
  CHECK(used < passed / 5);
}

TEST_CASE("parker: no unpark is lost, whether it comes before, while or after the other thread falls asleep") {
  thread_parker ping, pong;
  std::atomic<int> turn = 0;
  constexpr int rounds = 20'000;
  std::thread other([&] {
    for (int i = 1; i < rounds; i += 2) {
      while (turn.load() != i) pong.park(time_point::max());
      turn.store(i + 1);
      ping.unpark();
    }
  });
  for (int i = 0; i < rounds; i += 2) {
    turn.store(i + 1);
    pong.unpark();
    while (turn.load() != i + 2) ping.park(time_point::max());
  }
  other.join();
  CHECK(turn == rounds);
}

TEST_CASE("parker: a signal handler may unpark") {
  thread_parker parker;
  woken_by_signal = &parker;
  auto const old = std::signal(SIGUSR1, [](int) { woken_by_signal->unpark(); });
  std::thread other([] { std::raise(SIGUSR1); });  // the signal arrives on that thread
  parker.park(time_point::max());
  other.join();
  std::signal(SIGUSR1, old);
  CHECK(old != SIG_ERR);
}

TEST_CASE("virtual clock: advances the time of its thread, and never backwards") {
  virtual_clock time;
  auto const start = fibers::clock::now();
  time.move_to(start + 1h);
  CHECK(fibers::clock::now() == start + 1h);
  time.move_to(start);
  CHECK(fibers::clock::now() == start + 1h);
}

TEST_CASE("virtual clock: advances as long as the real sleep, but not beyond the deadline") {
  virtual_clock time;
  auto const start = fibers::clock::now();
  auto const really = std::chrono::steady_clock::now();
  time_point asked;
  time.move_while(start + 1h, [&](time_point deadline) {
    asked = deadline;
    while (std::chrono::steady_clock::now() < really + 2ms) {
    }
  });
  auto const slept = fibers::clock::now() - start;
  CHECK(asked >= really + 1h);
  CHECK(slept > 0ms);
  CHECK(slept <= std::chrono::steady_clock::now() - really);
  time.move_while(start + slept + 1ns, [&](time_point) {
    auto const until = std::chrono::steady_clock::now() + 1ms;
    while (std::chrono::steady_clock::now() < until) {
    }
  });
  CHECK(fibers::clock::now() == start + slept + 1ns);
}

TEST_CASE("virtual clock: a deadline that never comes, or is out of range, is none") {
  virtual_clock time;
  for (auto const never : {time_point::max(), time_point::max() - 1ns}) {
    time.move_while(never, [](time_point deadline) { CHECK(deadline == time_point::max()); });
  }
}

TEST_CASE("virtual clock: when it is destroyed, the thread has real time again") {
  { virtual_clock const time; }
  auto const before = std::chrono::steady_clock::now();
  CHECK(fibers::clock::now() >= before);
}
