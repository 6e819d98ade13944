// SPDX-License-Identifier: BSL-1.0

// Tasks that sleep on the real clock, each for a different time of up to a second. Measures processor time.

#include <benchmark/benchmark.h>

#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdint>
#include <fibers/fibers.hpp>
#include <vector>

namespace {

// Returns lengths in pseudo-random order.
std::chrono::microseconds length_of(std::int64_t sleeper) {
  return std::chrono::microseconds(500'000 + sleeper * 7919 % 500'000);
}

void our_timers(benchmark::State& state) {
  for (auto _ : state) {
    fibers::run([&] {
      std::vector<fibers::task<void>> tasks;
      for (std::int64_t i = 0; i < state.range(0); ++i) {
        tasks.push_back(fibers::spawn([i] { fibers::sleep_for(length_of(i)); }));
      }
      for (auto& task : tasks) task.get();
    });
  }
  state.SetItemsProcessed(state.range(0) * state.iterations());
}
BENCHMARK(our_timers)->Arg(100'000)->Iterations(1)->Unit(benchmark::kMillisecond);

void boost_timers(benchmark::State& state) {
  boost::fibers::pooled_fixedsize_stack stacks;
  for (auto _ : state) {
    std::vector<boost::fibers::fiber> tasks;
    for (std::int64_t i = 0; i < state.range(0); ++i) {
      tasks.emplace_back(std::allocator_arg, stacks, [i] { boost::this_fiber::sleep_for(length_of(i)); });
    }
    for (auto& task : tasks) task.join();
  }
  state.SetItemsProcessed(state.range(0) * state.iterations());
}
BENCHMARK(boost_timers)->Arg(10'000)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
