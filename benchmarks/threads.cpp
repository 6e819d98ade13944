// SPDX-License-Identifier: BSL-1.0

// A task wakes a task of another thread, and waits until that has woken it: both threads sleep in between, so this is
// twice the way into the kernel and out again.

#include <benchmark/benchmark.h>

#include <atomic>
#include <boost/fiber/all.hpp>
#include <fibers/detail/suspend.hpp>
#include <fibers/fibers.hpp>
#include <mutex>
#include <thread>
#include <utility>

namespace {

// Lets one task through each time it is set.
class gate {
 public:
  void set() {
    std::unique_lock lock(lock_);
    auto* const w = std::exchange(sleeper_, nullptr);
    bool const claimed = w != nullptr && w->try_claim(fibers::detail::claim::notified);
    set_ = !claimed;
    lock.unlock();
    if (claimed) fibers::detail::wake(*w);  // the last touch
  }
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto& task = fibers::detail::enter(place);
    fibers::detail::waiter w(task, place);
    std::unique_lock lock(lock_);
    if (std::exchange(set_, false)) return;
    sleeper_ = &w;
    lock.unlock();
    static_cast<void>(fibers::detail::suspend(w));  // nobody cancels here
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

}  // namespace

BENCHMARK_MAIN();
