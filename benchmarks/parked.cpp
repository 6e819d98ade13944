// SPDX-License-Identifier: BSL-1.0

// Many parked tasks: the memory that each uses, and the cost of cancelling and joining all of them. The memory is right
// only in the first run of a process, so benchmarks/report.py starts a process for each benchmark.

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <boost/fiber/all.hpp>
#include <cstddef>
#include <fibers/fibers.hpp>
#include <fstream>
#include <vector>

namespace {

std::size_t resident_bytes() {
  std::size_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void report_memory(benchmark::State& state, std::size_t bytes) {
  state.counters["bytes_per_task"] = static_cast<double>(bytes) / static_cast<double>(state.range(0));
}

// Measures cancelling and joining.
void our_parked(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    fibers::run([&] {
      std::vector<fibers::task<void>> tasks(static_cast<std::size_t>(state.range(0)));
      auto const before = resident_bytes();
      for (auto& task : tasks) task = fibers::spawn([] { fibers::sleep_for(fibers::no_timeout); });
      fibers::this_task::yield();
      report_memory(state, resident_bytes() - before);
      state.ResumeTiming();
      for (auto& task : tasks) task.cancel();
      for (auto& task : tasks) task.wait();
      state.PauseTiming();
    });
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.range(0) * state.iterations());
}
BENCHMARK(our_parked)->Arg(100'000)->Arg(1'000'000)->Iterations(1);

// Boost.Fiber has no cancellation: the fibers are woken and joined.
void boost_parked(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    boost::fibers::mutex mutex;
    boost::fibers::condition_variable_any stop;
    bool stopped = false;
    boost::fibers::pooled_fixedsize_stack stacks;
    std::vector<boost::fibers::fiber> tasks(static_cast<std::size_t>(state.range(0)));
    auto const before = resident_bytes();
    for (auto& task : tasks) {
      task = boost::fibers::fiber(std::allocator_arg, stacks, [&] {
        std::unique_lock lock(mutex);
        stop.wait(lock, [&] { return stopped; });
      });
    }
    boost::this_fiber::yield();
    report_memory(state, resident_bytes() - before);
    state.ResumeTiming();
    stopped = true;
    stop.notify_all();
    for (auto& task : tasks) task.join();
  }
  state.SetItemsProcessed(state.range(0) * state.iterations());
}
BENCHMARK(boost_parked)->Arg(10'000)->Iterations(1);

}  // namespace

BENCHMARK_MAIN();
