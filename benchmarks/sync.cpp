// SPDX-License-Identifier: BSL-1.0

// Locks, events and queues, compared with Boost.Fiber's. An item is one lock and unlock, one wait or one message.

#include <benchmark/benchmark.h>

#include <boost/fiber/all.hpp>
#include <cstdint>
#include <fibers/fibers.hpp>
#include <mutex>
#include <vector>

namespace {

// --- uncontended ---

void our_mutex(benchmark::State& state) {
  fibers::run([&] {
    fibers::mutex mutex;
    for (auto _ : state) std::lock_guard const guard(mutex);
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_mutex);

void boost_mutex(benchmark::State& state) {
  boost::fibers::mutex mutex;
  for (auto _ : state) std::lock_guard const guard(mutex);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(boost_mutex);

void our_event(benchmark::State& state) {
  fibers::run([&] {
    fibers::event event;
    for (auto _ : state) {
      event.set();
      event.wait();
      event.clear();
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_event);

void our_semaphore(benchmark::State& state) {
  fibers::run([&] {
    fibers::semaphore semaphore(1);
    for (auto _ : state) std::lock_guard const guard(semaphore);
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_semaphore);

// An item is a put and a get.
void our_queue(benchmark::State& state) {
  fibers::run([&] {
    fibers::queue<int> queue(16);
    for (auto _ : state) {
      queue.put(1);
      benchmark::DoNotOptimize(queue.get());
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_queue);

void boost_queue(benchmark::State& state) {
  boost::fibers::buffered_channel<int> channel(16);
  for (auto _ : state) {
    channel.push(1);
    benchmark::DoNotOptimize(channel.value_pop());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(boost_queue);

// --- contended ---

// Tasks acquire the same lock in turn. Each yields while it holds the lock, so that the others queue; and once more
// after it, since a fiber of Boost.Fiber that locks again at once overtakes the waiters.
void our_mutex_handover(benchmark::State& state) {
  auto const count = state.range(0);
  fibers::run([&] {
    fibers::mutex mutex;
    bool stop = false;
    std::vector<fibers::task<void>> others;
    auto const turn = [&] {
      {
        std::lock_guard const guard(mutex);
        fibers::this_task::yield();
      }
      fibers::this_task::yield();
    };
    for (std::int64_t i = 1; i < count; ++i) {
      others.push_back(fibers::spawn([&] {
        while (!stop) turn();
      }));
    }
    fibers::this_task::yield();
    for (auto _ : state) turn();
    stop = true;
    for (auto& other : others) other.get();
  });
  state.SetItemsProcessed(count * state.iterations());
}
BENCHMARK(our_mutex_handover)->Arg(2)->Arg(10);

void boost_mutex_handover(benchmark::State& state) {
  auto const count = state.range(0);
  boost::fibers::mutex mutex;
  bool stop = false;
  std::vector<boost::fibers::fiber> others;
  auto const turn = [&] {
    {
      std::lock_guard const guard(mutex);
      boost::this_fiber::yield();
    }
    boost::this_fiber::yield();
  };
  for (std::int64_t i = 1; i < count; ++i) {
    others.emplace_back([&] {
      while (!stop) turn();
    });
  }
  boost::this_fiber::yield();
  for (auto _ : state) turn();
  stop = true;
  for (auto& other : others) other.join();
  state.SetItemsProcessed(count * state.iterations());
}
BENCHMARK(boost_mutex_handover)->Arg(2)->Arg(10);

// One task puts, another gets.
void our_messages(benchmark::State& state) {
  fibers::run([&] {
    fibers::queue<int> queue(static_cast<std::size_t>(state.range(0)));
    auto consumer = fibers::spawn([&] {
      for (auto const item : queue) benchmark::DoNotOptimize(item);
    });
    for (auto _ : state) queue.put(1);
    queue.shutdown();
    consumer.get();
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_messages)->Arg(1)->Arg(128);

void boost_messages(benchmark::State& state) {
  // The capacity of the channel is its size minus one; the size must be a power of two.
  boost::fibers::buffered_channel<int> channel(static_cast<std::size_t>(state.range(0)));
  boost::fibers::fiber consumer([&] {
    for (auto const item : channel) benchmark::DoNotOptimize(item);
  });
  for (auto _ : state) channel.push(1);
  channel.close();
  consumer.join();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(boost_messages)->Arg(2)->Arg(128);

}  // namespace

BENCHMARK_MAIN();
