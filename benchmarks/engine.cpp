// SPDX-License-Identifier: BSL-1.0

// The engine beside its floors (a bare switch of Boost.Context, a bare throw) and beside Boost.Fiber, in one run.

#include <benchmark/benchmark.h>

#include <boost/context/fiber.hpp>
#include <boost/fiber/all.hpp>
#include <cstdint>
#include <fibers/fibers.hpp>
#include <vector>

namespace {

// --- floors ---

void bare_switch(benchmark::State& state) {
  auto const count = static_cast<std::size_t>(state.range(0)) - 1;
  bool stop = false;
  std::vector<boost::context::fiber> others;
  for (std::size_t i = 0; i < count; ++i) {
    others.emplace_back([&stop](boost::context::fiber&& back) {
      while (!stop) back = std::move(back).resume();
      return std::move(back);
    });
  }
  std::size_t next = 0;
  for (auto _ : state) {
    others[next] = std::move(others[next]).resume();
    if (++next == count) next = 0;
  }
  state.SetItemsProcessed(2 * state.iterations());
  stop = true;
  for (auto& other : others) other = std::move(other).resume();
}
BENCHMARK(bare_switch)->Arg(2)->Arg(1000)->Arg(10000);

void bare_throw(benchmark::State& state) {
  for (auto _ : state) {
    try {
      throw fibers::cancelled_error();
    } catch (fibers::cancelled_error const& error) {
      benchmark::DoNotOptimize(&error);
    }
  }
}
BENCHMARK(bare_throw);

// --- ours ---

void our_yield(benchmark::State& state) {
  auto const count = static_cast<std::size_t>(state.range(0));
  fibers::run([&] {
    bool stop = false;
    std::vector<fibers::task<void>> others;
    for (std::size_t i = 1; i < count; ++i) {
      others.push_back(fibers::spawn([&stop] {
        while (!stop) fibers::this_task::yield();
      }));
    }
    fibers::this_task::yield();
    std::int64_t rounds = 0;
    for (auto _ : state) {
      fibers::this_task::yield();
      ++rounds;
    }
    state.SetItemsProcessed(rounds * static_cast<std::int64_t>(count));
    stop = true;
  });
}
BENCHMARK(our_yield)->Arg(2)->Arg(1000)->Arg(10000);

void our_spawn_get(benchmark::State& state) {
  fibers::run([&] {
    for (auto _ : state) fibers::spawn([] {}).get();
    state.SetItemsProcessed(state.iterations());
  });
}
BENCHMARK(our_spawn_get);

void our_spawn_get_thousand(benchmark::State& state) {
  fibers::run([&] {
    std::vector<fibers::task<void>> tasks;
    tasks.reserve(1000);
    for (auto _ : state) {
      for (int i = 0; i < 1000; ++i) tasks.push_back(fibers::spawn([] {}));
      for (auto& task : tasks) task.get();
      tasks.clear();
    }
    state.SetItemsProcessed(1000 * state.iterations());
  });
}
BENCHMARK(our_spawn_get_thousand);

void our_cancel_parked(benchmark::State& state) {
  fibers::run([&] {
    for (auto _ : state) {
      auto task = fibers::spawn([] { fibers::sleep_for(fibers::no_timeout); });
      fibers::this_task::yield();
      task.cancel_and_wait();
    }
    state.SetItemsProcessed(state.iterations());
  });
}
BENCHMARK(our_cancel_parked);

// --- Boost.Fiber ---

void boost_yield(benchmark::State& state) {
  auto const count = static_cast<std::size_t>(state.range(0));
  bool stop = false;
  std::vector<boost::fibers::fiber> others;
  for (std::size_t i = 1; i < count; ++i) {
    others.emplace_back([&stop] {
      while (!stop) boost::this_fiber::yield();
    });
  }
  boost::this_fiber::yield();
  std::int64_t rounds = 0;
  for (auto _ : state) {
    boost::this_fiber::yield();
    ++rounds;
  }
  state.SetItemsProcessed(rounds * static_cast<std::int64_t>(count));
  stop = true;
  for (auto& other : others) other.join();
}
BENCHMARK(boost_yield)->Arg(2)->Arg(1000)->Arg(10000);

void boost_spawn_join(benchmark::State& state) {
  boost::fibers::pooled_fixedsize_stack stacks;
  for (auto _ : state) boost::fibers::fiber(std::allocator_arg, stacks, [] {}).join();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(boost_spawn_join);

}  // namespace

BENCHMARK_MAIN();
