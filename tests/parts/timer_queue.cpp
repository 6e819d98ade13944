// SPDX-License-Identifier: BSL-1.0
#include "../../fibers/detail/parts/timer_queue.hpp"

#include <algorithm>
#include <fibers/clock.hpp>
#include <random>
#include <vector>

#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::time_point;
using fibers::detail::timer;
using fibers::detail::timer_queue;

namespace {

time_point at(int when) { return time_point(std::chrono::milliseconds(when)); }

struct numbered : timer {
  numbered(int n, std::vector<int>& log) noexcept : timer(&note), number(n), fired(log) {}
  static void note(timer& due) noexcept {
    auto& self = static_cast<numbered&>(due);
    self.fired.push_back(self.number);
  }
  int number;
  std::vector<int>& fired;
};

}  // namespace

TEST_CASE("timer_queue: an empty queue is due never") {
  timer_queue queue;
  CHECK(queue.empty());
  CHECK(queue.next() == time_point::max());
  queue.fire_due(time_point::max());
}

TEST_CASE("timer_queue: fires due timers, earliest first, and no others") {
  std::vector<int> fired;
  numbered three(3, fired), one(1, fired), two(2, fired);
  timer_queue queue;
  queue.add(three, at(30));
  queue.add(one, at(10));
  queue.add(two, at(20));
  CHECK(queue.next() == at(10));
  queue.fire_due(at(9));
  CHECK(fired.empty());
  queue.fire_due(at(20));
  CHECK(fired == std::vector{1, 2});
  CHECK_FALSE(two.armed());
  CHECK(three.armed());
  CHECK(queue.next() == at(30));
  queue.remove(three);
}

TEST_CASE("timer_queue: timers with equal deadlines fire in the order in which they were armed") {
  std::vector<int> fired;
  numbered late(9, fired), a(1, fired), b(2, fired), c(3, fired);
  timer_queue queue;
  queue.add(a, at(10));
  queue.add(late, at(20));  // so that b and c are inserted in the middle
  queue.add(b, at(10));
  queue.add(c, at(10));
  queue.remove(a);
  queue.add(a, at(10));  // armed again: now the last of them
  queue.fire_due(at(20));
  CHECK(fired == std::vector{2, 3, 1, 9});
}

TEST_CASE("timer_queue: a firing timer may arm and disarm others, and itself") {
  struct busy : timer {
    busy(timer_queue& q, timer& v) noexcept : timer(&act), queue(q), victim(v) {}
    static void act(timer& due) noexcept {
      auto& self = static_cast<busy&>(due);
      if (self.victim.armed()) self.queue.remove(self.victim);
      if (++self.times < 3) self.queue.add(self, self.when + 1ms);
    }
    timer_queue& queue;
    timer& victim;
    int times = 0;
  };
  std::vector<int> fired;
  timer_queue queue;
  numbered victim(1, fired);
  busy twice(queue, victim);
  queue.add(twice, at(1));
  queue.add(victim, at(1));
  queue.fire_due(at(2));
  CHECK(twice.times == 2);
  CHECK(queue.next() == at(3));
  queue.fire_due(at(3));
  CHECK(twice.times == 3);
  CHECK(fired.empty());
  CHECK(queue.empty());
}

TEST_CASE("timer_queue: any order of arming, disarming and firing agrees with a sorted list") {
  std::mt19937 random(7);
  std::vector<int> fired, expected;
  std::vector<numbered> timers;
  timers.reserve(60);
  for (int i = 0; i < 60; ++i) timers.emplace_back(i, fired);
  timer_queue queue;
  std::vector<numbered*> model;  // sorted by time; equal times in the order of arming
  for (int now = 0, step = 0; step < 20'000; ++step) {
    auto& timer = timers[random() % timers.size()];
    if (random() % 8 == 0) {
      now += static_cast<int>(random() % 4);
      while (!model.empty() && model.front()->when <= at(now)) {
        expected.push_back(model.front()->number);
        model.erase(model.begin());
      }
      queue.fire_due(at(now));
    } else if (timer.armed()) {
      queue.remove(timer);
      model.erase(std::find(model.begin(), model.end(), &timer));
    } else {
      queue.add(timer, at(now + static_cast<int>(random() % 20)));
      auto const later = [&](numbered const* other) { return other->when > timer.when; };
      model.insert(std::find_if(model.begin(), model.end(), later), &timer);
    }
    REQUIRE(queue.size() == model.size());
  }
  CHECK(expected.size() > 1000);
  CHECK(fired == expected);
  for (auto& timer : timers) {
    if (timer.armed()) queue.remove(timer);
  }
}

TEST_CASE("timer_queue: holds a million timers") {
  constexpr int count = 1'000'000;
  std::vector<int> fired;
  fired.reserve(count);
  std::vector<numbered> timers;
  timers.reserve(count);
  timer_queue queue;
  std::mt19937 random(1);
  for (int i = 0; i < count; ++i) {
    timers.emplace_back(i, fired);
    queue.add(timers.back(), at(static_cast<int>(random() % 1000)));
  }
  for (int i = 0; i < count; i += 2) queue.remove(timers[static_cast<std::size_t>(i)]);
  CHECK(queue.size() == count / 2);
  queue.fire_due(at(1000));
  CHECK(queue.empty());
  REQUIRE(fired.size() == count / 2);
  auto const earlier = [&](int a, int b) {
    auto const when_a = timers[static_cast<std::size_t>(a)].when, when_b = timers[static_cast<std::size_t>(b)].when;
    return when_a != when_b ? when_a < when_b : a < b;
  };
  CHECK(std::is_sorted(fired.begin(), fired.end(), earlier));
}

TEST_CASE("timer_queue: any due timer can be fired alone") {
  std::vector<int> fired;
  timer_queue queue;
  numbered a(1, fired), b(2, fired), c(3, fired), later(4, fired);
  queue.add(a, at(1));
  queue.add(b, at(1));
  queue.add(c, at(2));
  queue.add(later, at(3));
  CHECK(queue.count_due(at(0)) == 0);
  CHECK(queue.count_due(at(2)) == 3);
  queue.fire(1);
  CHECK(fired == std::vector{2});
  CHECK_FALSE(b.armed());
  queue.fire(1);
  CHECK(fired == std::vector{2, 3});
  CHECK(queue.count_due(at(2)) == 1);
  queue.fire_due(at(3));
  CHECK(fired == std::vector{2, 3, 1, 4});
}
