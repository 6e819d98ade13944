// SPDX-License-Identifier: BSL-1.0

// A tree of tasks: each inner task spawns ten children and returns the sum of their results. A leaf returns its number.

#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <array>
#include <boost/fiber/all.hpp>
#include <cstdint>
#include <fibers/fibers.hpp>

namespace {

constexpr std::size_t children = 10;

void check(benchmark::State& state, std::int64_t sum) {
  if (sum != state.range(0) * (state.range(0) - 1) / 2) state.SkipWithError("the sum is wrong");
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  state.counters["peak_MiB"] = static_cast<double>(use.ru_maxrss) / 1024;
  state.SetItemsProcessed(state.range(0) * state.iterations());
}

std::int64_t our_sum(std::int64_t first, std::int64_t leaves) {
  if (leaves == 1) return first;
  auto const part = leaves / static_cast<std::int64_t>(children);
  std::array<fibers::task<std::int64_t>, children> tasks;
  for (std::size_t i = 0; i < children; ++i) {
    auto const start = first + static_cast<std::int64_t>(i) * part;
    tasks[i] = fibers::spawn([start, part] { return our_sum(start, part); });
  }
  std::int64_t sum = 0;
  for (auto& task : tasks) sum += task.get();
  return sum;
}

void our_skynet(benchmark::State& state) {
  std::int64_t sum = 0;
  for (auto _ : state) sum = fibers::run([&] { return our_sum(0, state.range(0)); });
  check(state, sum);
}
BENCHMARK(our_skynet)->Arg(1'000'000)->Iterations(1)->Unit(benchmark::kMillisecond);

std::int64_t boost_sum(std::int64_t first, std::int64_t leaves, boost::fibers::pooled_fixedsize_stack& stacks) {
  if (leaves == 1) return first;
  auto const part = leaves / static_cast<std::int64_t>(children);
  std::array<boost::fibers::future<std::int64_t>, children> results;
  for (std::size_t i = 0; i < children; ++i) {
    auto const start = first + static_cast<std::int64_t>(i) * part;
    results[i] = boost::fibers::async(boost::fibers::launch::post, std::allocator_arg, stacks,
                                      [start, part, &stacks] { return boost_sum(start, part, stacks); });
  }
  std::int64_t sum = 0;
  for (auto& result : results) sum += result.get();
  return sum;
}

void boost_skynet(benchmark::State& state) {
  std::int64_t sum = 0;
  boost::fibers::pooled_fixedsize_stack stacks;
  for (auto _ : state) sum = boost_sum(0, state.range(0), stacks);
  check(state, sum);
}
BENCHMARK(boost_skynet)->Arg(10'000)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
