// SPDX-License-Identifier: BSL-1.0

// Costs that must not grow with the number of objects: all of these were quadratic once. Each is measured in processor
// time with few objects and with fifty times as many; a cost in proportion to their number would be fifty times as
// high. benchmarks/growth.cpp prints such a table for all operations.

#include <time.h>

#include <algorithm>
#include <fibers/fibers.hpp>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::spawn;

namespace {

double processor_time() {
  timespec time = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Returns the ratio of the cost of an operation with fifty times as many objects to that with few. `measure(n)`
/// returns seconds.
template <class F>
double growth(F measure) {
  auto const cost = [&](int n) {
    double least = std::numeric_limits<double>::max();
    for (int round = 0; round < 3; ++round) {
      fibers::run([&] { least = std::min(least, measure(n) / n); });
    }
    return least;
  };
  int const few = fibers::testing::sanitized ? 20 : 200;
  return cost(50 * few) / cost(few);
}

template <class F>
double seconds(F body) {
  auto const begin = processor_time();
  body();
  return processor_time() - begin;
}

// Cache misses account for a factor of 2 to 3.
constexpr double at_most = 15;

}  // namespace

TEST_CASE("growth: an arrival at a barrier costs the same however many tasks wait") {
  CHECK(growth([](int n) {
          fibers::barrier barrier(n + 1);
          std::vector<fibers::task<void>> tasks;
          auto const cost = seconds([&] {
            for (int i = 0; i < n; ++i) tasks.push_back(spawn([&] { barrier.arrive_and_wait(); }));
            fibers::this_task::yield();
          });
          barrier.arrive_and_wait();
          return cost;
        }) < at_most);
}

TEST_CASE("growth: barrier::waiting() costs the same however many tasks wait") {
  CHECK(growth([](int n) {
          fibers::barrier barrier(n + 1);
          std::vector<fibers::task<void>> tasks;
          for (int i = 0; i < n; ++i) tasks.push_back(spawn([&] { barrier.arrive_and_wait(); }));
          fibers::this_task::yield();
          auto const cost = seconds([&] {
            for (int i = 0; i < n; ++i) static_cast<void>(barrier.waiting());
          });
          barrier.arrive_and_wait();
          return cost;
        }) < at_most);
}

TEST_CASE("growth: on_done() and its removal cost the same however many callbacks a task has") {
  CHECK(growth([](int n) {
          auto const task = spawn([] {});
          std::vector<fibers::callback_handle> handles;
          return seconds([&] {
            for (int i = 0; i < n; ++i) handles.push_back(task.on_done([] {}));
            for (auto& each : handles) each.remove();
          });
        }) < at_most);
}

TEST_CASE("growth: try_acquire() costs the same however many cancelled waiters have not run yet") {
  CHECK(growth([](int n) {
          fibers::semaphore semaphore(1);
          std::vector<fibers::task<void>> tasks;
          for (int i = 0; i < n; ++i) {
            tasks.push_back(spawn([&] {
              try {
                semaphore.acquire(1'000);
              } catch (fibers::cancelled_error const&) {
                if (semaphore.try_acquire()) semaphore.release();
                throw;
              }
            }));
          }
          fibers::this_task::yield();
          return seconds([&] { fibers::cancel_and_wait(tasks); });
        }) < at_most);
}

TEST_CASE("growth: task_local::get() costs nearly the same however many variables have a value") {
  CHECK(growth([](int n) {
          std::vector<std::unique_ptr<fibers::task_local<int>>> variables;
          for (int i = 0; i < n; ++i) variables.push_back(std::make_unique<fibers::task_local<int>>());
          for (auto const& each : variables) each->set(1);
          return seconds([&] {
            for (auto const& each : variables) static_cast<void>(each->get());
          });
        }) < at_most);
}
