// SPDX-License-Identifier: BSL-1.0
#include <fibers/clock.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::clock_kind;
using fibers::duration;
using fibers::time_point;
using fibers::detail::deadline_after;
using fibers::detail::to_duration;

namespace {
using real_seconds = std::chrono::duration<double>;
using real_nanoseconds = std::chrono::duration<double, std::nano>;
}  // namespace

TEST_CASE("clock: a duration is rounded up, so that no timer is early") {
  CHECK(to_duration(1ms) == 1'000'000ns);
  CHECK(to_duration(real_nanoseconds(0.25)) == 1ns);
  CHECK(to_duration(real_nanoseconds(2.5)) == 3ns);
  CHECK(to_duration(real_seconds(0)) == 0ns);
  CHECK(to_duration(real_nanoseconds(-0.5)) == 0ns);
  CHECK(to_duration(std::chrono::duration<int, std::pico>(1)) == 1ns);
}

TEST_CASE("clock: a duration that is out of range is clamped") {
  auto const infinity = std::numeric_limits<double>::infinity();
  CHECK(to_duration(real_seconds(infinity)) == duration::max());
  CHECK(to_duration(real_seconds(-infinity)) == duration::min());
  CHECK(to_duration(std::chrono::hours::max()) == duration::max());
  CHECK(to_duration(std::chrono::hours::min()) == duration::min());
  CHECK(to_duration(std::chrono::duration<int, std::ratio<31'536'000>>(1000)) == duration::max());
  CHECK(to_duration(fibers::no_timeout) == duration::max());
}

TEST_CASE("clock: NaN is refused, and the text says what to write for 'never'") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(to_duration(real_seconds(nan)), std::invalid_argument);
  CHECK_THROWS_WITH(to_duration(real_seconds(nan)), Catch::Matchers::ContainsSubstring("fibers::no_timeout"));
}

TEST_CASE("clock: a deadline out of range is never") {
  CHECK(deadline_after(duration::max()) == time_point::max());
  CHECK(deadline_after(fibers::no_timeout) == time_point::max());
  CHECK(deadline_after(duration::min()) < fibers::clock::now());
  auto const before = fibers::clock::now();
  auto const in_an_hour = deadline_after(1h);
  CHECK(in_an_hour >= before + 1h);
  CHECK(in_an_hour <= fibers::clock::now() + 1h);
}

TEST_CASE("clock: outside a loop and in a loop in real time it is the steady clock") {
  auto const is_steady = [] {
    auto const before = std::chrono::steady_clock::now();
    auto const now = fibers::clock::now();
    return before <= now && now <= std::chrono::steady_clock::now();
  };
  CHECK(is_steady());
  CHECK(fibers::run(is_steady));
  fibers::run({.clock = clock_kind::virtual_time}, [] { fibers::sleep_for(1h); });
  CHECK(is_steady());  // and again after a loop in virtual time
}

TEST_CASE("clock: virtual time stands still while any task can run, and jumps to exactly the next deadline") {
  std::vector<duration> seen;
  fibers::run({.clock = clock_kind::virtual_time}, [&] {
    auto const start = fibers::clock::now();
    auto const note = [&] { seen.push_back(fibers::clock::now() - start); };
    auto later = fibers::spawn([&] {
      fibers::sleep_for(3h);
      note();
    });
    for (int i = 0; i < 1000; ++i) fibers::this_task::yield();
    note();
    fibers::sleep_for(1ns);
    note();
    later.get();
    note();
  });
  CHECK(seen == std::vector<duration>{0ns, 1ns, 3h, 3h});
}

TEST_CASE("clock: each thread has the time of its own loop") {
  duration mine{}, other{};
  fibers::run({.clock = clock_kind::virtual_time}, [&] {
    auto const start = fibers::clock::now();
    fibers::sleep_for(1h);
    std::thread([&] {
      fibers::run({.clock = clock_kind::virtual_time}, [&] {
        auto const there = fibers::clock::now();
        fibers::sleep_for(5s);
        other = fibers::clock::now() - there;
      });
    }).join();
    mine = fibers::clock::now() - start;
  });
  CHECK(mine == 1h);
  CHECK(other == 5s);
}

TEST_CASE("clock: in real time a sleep is never early") {
  std::vector<duration> asked, slept;
  fibers::run([&] {
    for (duration const length : {duration(1ns), duration(1us), duration(100us), duration(1ms), duration(7ms)}) {
      auto const start = std::chrono::steady_clock::now();
      fibers::sleep_for(length);
      asked.push_back(length);
      slept.push_back(std::chrono::steady_clock::now() - start);
    }
  });
  REQUIRE(slept.size() == 5);
  for (std::size_t i = 0; i < asked.size(); ++i) CHECK(slept[i] >= asked[i]);
}
