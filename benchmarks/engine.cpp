// SPDX-License-Identifier: BSL-1.0

// Switch, spawn and cancel, compared with their floors (a bare switch of Boost.Context, a bare throw) and with
// Boost.Fiber, in one process. An item is one switch, task or throw. If the first argument is --thread, an idle second
// thread runs, so locks and reference counts cost what they cost in programs with threads.

#include <benchmark/benchmark.h>

#include <boost/context/fiber.hpp>
#include <boost/fiber/all.hpp>
#include <cstdint>
#include <fibers/fibers.hpp>
#include <string_view>
#include <thread>
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

// `Frames` frames lie between throw and handler. Each has a local variable with a destructor, or with a trivial one.
struct something {
  ~something() { benchmark::ClobberMemory(); }
};
struct nothing {
  ~nothing() = default;
};
template <class Local, int Frames>
[[gnu::noinline]] void throw_through() {
  [[maybe_unused]] Local const local;
  if constexpr (Frames == 0) {
    throw fibers::cancelled_error();
  } else {
    throw_through<Local, Frames - 1>();
  }
  benchmark::ClobberMemory();  // no tail call
}
template <class Local, int Frames>
void bare_throw(benchmark::State& state) {
  for (auto _ : state) {
    try {
      if constexpr (Frames == 0) {
        throw fibers::cancelled_error();
      } else {
        throw_through<Local, Frames - 1>();
      }
    } catch (fibers::cancelled_error const& error) {
      benchmark::DoNotOptimize(&error);
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(bare_throw<nothing, 0>)->Name("bare_throw");
BENCHMARK(bare_throw<nothing, 5>)->Name("bare_throw/5");
BENCHMARK(bare_throw<something, 5>)->Name("bare_throw/5_destructors");

// --- switch: all tasks run the same function, as is usual in programs with many tasks ---

int yields_each(std::int64_t tasks) { return tasks < 1000 ? 20000 : 100; }

void our_yield(benchmark::State& state) {
  auto const each = yields_each(state.range(0));
  fibers::run([&] {
    std::vector<fibers::task<void>> tasks;
    for (auto _ : state) {
      for (std::int64_t i = 0; i < state.range(0); ++i) {
        tasks.push_back(fibers::spawn([each] {
          for (int n = 0; n < each; ++n) fibers::this_task::yield();
        }));
      }
      for (auto& task : tasks) task.get();
      tasks.clear();
    }
  });
  state.SetItemsProcessed(state.iterations() * state.range(0) * each);
}
BENCHMARK(our_yield)->Arg(2)->Arg(1000)->Arg(10000);

void boost_yield(benchmark::State& state) {
  auto const each = yields_each(state.range(0));
  boost::fibers::pooled_fixedsize_stack stacks;
  std::vector<boost::fibers::fiber> tasks;
  for (auto _ : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i) {
      tasks.emplace_back(std::allocator_arg, stacks, [each] {
        for (int n = 0; n < each; ++n) boost::this_fiber::yield();
      });
    }
    for (auto& task : tasks) task.join();
    tasks.clear();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * each);
}
BENCHMARK(boost_yield)->Arg(2)->Arg(1000)->Arg(10000);

// --- spawn and get, in batches ---

void our_spawn(benchmark::State& state) {
  fibers::run([&] {
    std::vector<fibers::task<void>> tasks(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
      for (auto& task : tasks) task = fibers::spawn([] {});
      for (auto& task : tasks) task.get();
    }
  });
  state.SetItemsProcessed(state.range(0) * state.iterations());
}
BENCHMARK(our_spawn)->Arg(1)->Arg(1000);

void boost_spawn(benchmark::State& state) {
  boost::fibers::pooled_fixedsize_stack stacks;
  std::vector<boost::fibers::fiber> tasks(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    for (auto& task : tasks) task = boost::fibers::fiber(std::allocator_arg, stacks, [] {});
    for (auto& task : tasks) task.join();
  }
  state.SetItemsProcessed(state.range(0) * state.iterations());
}
BENCHMARK(boost_spawn)->Arg(1)->Arg(1000);

// --- cancel ---

void our_cancel_parked(benchmark::State& state) {
  fibers::run([&] {
    for (auto _ : state) {
      auto const task = fibers::spawn([] { fibers::sleep_for(fibers::no_timeout); });
      fibers::this_task::yield();
      task.cancel_and_wait();
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_cancel_parked);

void our_cancel_before_start(benchmark::State& state) {
  fibers::run([&] {
    for (auto _ : state) {
      auto const task = fibers::spawn([] {});
      task.cancel_and_wait();
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_cancel_before_start);

}  // namespace

int main(int argc, char** argv) {
  std::jthread idle;
  if (argc > 1 && std::string_view(argv[1]) == "--thread") {
    idle = std::jthread([](std::stop_token stop) {
      while (!stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    });
    argv[1] = argv[0];
    ++argv, --argc;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
