// SPDX-License-Identifier: BSL-1.0
#include <fibers/detail/parts/spinlock.hpp>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "catch.hpp"

using fibers::detail::reference_count;
using fibers::detail::spinlock;

namespace {

template <class F>
void on_threads(int count, F function) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(function);
  for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("spinlock: one thread at a time owns it, and sees the writes of the previous owner") {
  spinlock lock;
  int count = 0;  // not atomic: only the lock protects it
  on_threads(3, [&] {
    for (int i = 0; i < 20'000; ++i) {
      std::scoped_lock const guard(lock);
      ++count;
    }
  });
  CHECK(count == 60'000);
}

TEST_CASE("spinlock: acquired before a second thread exists, it excludes that thread") {
  spinlock lock;
  lock.lock();
  int value = 0, seen = 0;
  std::thread other([&] {
    std::scoped_lock const guard(lock);
    seen = value;
  });
  for (int i = 0; i < 50; ++i) std::this_thread::yield();
  value = 1;
  lock.unlock();
  other.join();
  CHECK(seen == 1);
}

TEST_CASE("spinlock: a process with a second thread is not single-threaded") {
  bool there = true;
  std::thread([&] { there = fibers::detail::single_threaded(); }).join();
  CHECK_FALSE(there);
}

TEST_CASE("reference_count: exactly the last owner is told that it is the last") {
  reference_count owners;
  owners.add();
  owners.add();
  CHECK(owners.count() == 2);
  CHECK_FALSE(owners.remove());
  CHECK(owners.count() == 1);
  CHECK(owners.remove());
}

TEST_CASE("reference_count: of several threads exactly one is last, and sees the writes of the others") {
  constexpr int owners = 3;
  for (int round = 0; round < 200; ++round) {
    struct shared {
      reference_count count;
      int written[owners] = {};
    };
    auto const object = std::make_unique<shared>();
    for (int i = 0; i < owners; ++i) object->count.add();
    std::atomic<int> next = 0, last = 0, sum = 0;
    on_threads(owners, [&] {
      object->written[next++] = 1;
      if (!object->count.remove()) return;
      ++last;
      for (int const each : object->written) sum += each;  // without a lock
    });
    REQUIRE(last == 1);
    REQUIRE(sum == owners);
  }
}
