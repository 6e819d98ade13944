// SPDX-License-Identifier: BSL-1.0

// A task wakes a task on another thread, and waits until that task has woken it. Both threads sleep in between, so a
// round trip contains two wake-ups through the kernel.

#include <benchmark/benchmark.h>

#include <atomic>
#include <boost/fiber/all.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/fibers.hpp>
#include <mutex>
#include <thread>
#include <utility>

namespace {

// An auto-reset event for one waiter: each set() ends one wait().
class gate {
 public:
  void set() {
    std::unique_lock lock(lock_);
    auto* const w = std::exchange(sleeper_, nullptr);
    bool const claimed = w != nullptr && w->try_claim(fibers::detail::claim::notified);
    set_ = !claimed;
    lock.unlock();
    if (claimed) fibers::detail::wake(*w);  // last access: the waiter may be destroyed from here on
  }
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto& task = fibers::detail::enter(place);
    fibers::detail::plain_waiter w(task, place);
    std::unique_lock lock(lock_);
    if (std::exchange(set_, false)) return;
    sleeper_ = &w;
    lock.unlock();
    static_cast<void>(fibers::detail::suspend(w));  // this benchmark cancels no task
  }

 private:
  fibers::detail::spinlock lock_;
  fibers::detail::waiter* sleeper_ = nullptr;
  bool set_ = false;
};

void our_round_trip(benchmark::State& state) {
  gate there, back;
  std::atomic<bool> stop = false;
  std::jthread const other([&] {
    fibers::run([&] {
      for (;;) {
        there.wait();
        if (stop) break;
        back.set();
      }
    });
  });
  fibers::run([&] {
    for (auto _ : state) {
      there.set();
      back.wait();
    }
    stop = true;
    there.set();
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_round_trip)->UseRealTime();

void boost_round_trip(benchmark::State& state) {
  boost::fibers::buffered_channel<int> there(2), back(2);
  std::jthread const other([&] {
    for (int n = 0; there.pop(n) == boost::fibers::channel_op_status::success;) back.push(n);
  });
  int n = 0;
  for (auto _ : state) {
    there.push(n);
    back.pop(n);
  }
  there.close();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(boost_round_trip)->UseRealTime();

// A task on one thread puts, a task on another gets.
void our_messages_2_threads(benchmark::State& state) {
  fibers::queue<int> queue(static_cast<std::size_t>(state.range(0)));
  std::jthread const other([&] {
    fibers::run([&] {
      for (auto const item : queue) benchmark::DoNotOptimize(item);
    });
  });
  fibers::run([&] {
    for (auto _ : state) queue.put(1);
    queue.shutdown();
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(our_messages_2_threads)->Arg(1)->Arg(128)->UseRealTime();

void boost_messages_2_threads(benchmark::State& state) {
  // The capacity of the channel is its size minus one; the size must be a power of two.
  boost::fibers::buffered_channel<int> channel(static_cast<std::size_t>(state.range(0)));
  std::jthread const other([&] {
    for (auto const item : channel) benchmark::DoNotOptimize(item);
  });
  for (auto _ : state) channel.push(1);
  channel.close();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(boost_messages_2_threads)->Arg(2)->Arg(128)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
