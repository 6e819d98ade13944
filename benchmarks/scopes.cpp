// SPDX-License-Identifier: BSL-1.0

// Timeouts, groups and gather, compared with bare yields and tasks. An item is one block, child or gather.

#include <benchmark/benchmark.h>

#include <chrono>
#include <fibers/fibers.hpp>

namespace {

using namespace std::chrono_literals;

void our_yield_alone(benchmark::State& state) {
  fibers::run([&] {
    for (auto _ : state) fibers::this_task::yield();
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_yield_alone);

void our_timeout(benchmark::State& state) {
  fibers::run([&] {
    for (auto _ : state) fibers::with_timeout(10s, [] { fibers::this_task::yield(); });
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_timeout);

void our_group(benchmark::State& state) {
  fibers::run([&] {
    for (auto _ : state) {
      fibers::with_task_group([](fibers::task_group& group) {
        for (int i = 0; i < 1000; ++i) group.spawn([] {});
      });
    }
  });
  state.SetItemsProcessed(1000 * state.iterations());
}
BENCHMARK(our_group);

void our_gather(benchmark::State& state) {
  fibers::run([&] {
    auto const f = [] { return 1; };
    for (auto _ : state) benchmark::DoNotOptimize(fibers::gather(f, f, f, f, f, f, f, f, f, f));
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_gather);

// A group of parked children, cancelled at once.
void our_group_cancelled(benchmark::State& state) {
  auto const children = state.range(0);
  fibers::run([&] {
    for (auto _ : state) {
      state.PauseTiming();
      fibers::with_task_group([&](fibers::task_group& group) {
        for (std::int64_t i = 0; i < children; ++i) group.spawn([] { fibers::sleep_for(fibers::no_timeout); });
        fibers::this_task::yield();
        state.ResumeTiming();
        group.cancel_all();
      });
    }
  });
  state.SetItemsProcessed(children * state.iterations());
}
BENCHMARK(our_group_cancelled)->Arg(100'000)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
