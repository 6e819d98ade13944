// SPDX-License-Identifier: BSL-1.0

// A task wakes a task of another thread, and waits until that has woken it: both threads sleep in between, so this is
// twice the way into the kernel and out again.

#include <benchmark/benchmark.h>

#include <atomic>
#include <boost/fiber/all.hpp>
#include <fibers/detail/wait_list.hpp>
#include <fibers/fibers.hpp>
#include <mutex>
#include <thread>

namespace {

// Lets one task through each time it is set.
class gate {
 public:
  void set() {
    std::unique_lock lock(lock_);
    if (auto* const first = waiters_.claim_first()) {
      lock.unlock();
      fibers::detail::wake(*first);
    } else {
      set_ = true;
    }
  }
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto& task = fibers::detail::enter(place);
    std::unique_lock lock(lock_);
    if (std::exchange(set_, false)) return;
    fibers::detail::waiter w(task, place);
    waiters_.wait(lock, w);
  }

 private:
  fibers::detail::spinlock lock_;
  fibers::detail::wait_list waiters_;
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
