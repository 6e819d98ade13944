// SPDX-License-Identifier: BSL-1.0
#pragma once

// The lock of everything small that several threads may share. Held for a few instructions, never across a switch
// of fibers, never while calling anything unknown.

#include <fibers/detail/parts/atomic.hpp>

namespace fibers::detail {

class spinlock {
 public:
  spinlock() = default;
  spinlock(spinlock const&) = delete;
  spinlock& operator=(spinlock const&) = delete;

  void lock() noexcept {
    if (single_threaded()) {
      locked_.store(true, std::memory_order_relaxed);
    } else if (locked_.exchange(true, std::memory_order_acquire)) {  // sees what the last owner wrote
      wait();
    }
  }
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }
  /// For assertions: false is certain, true may be another thread's lock.
  bool is_locked() const noexcept { return locked_.load(std::memory_order_relaxed); }

  /// For a thread that waits, without the lock, for what another thread is about to do.
  static void yield() noexcept;

 private:
  void wait() noexcept;

  atomic<bool> locked_ = false;
};

/// A count of owners, shared by threads.
class reference_count {
 public:
  explicit reference_count(unsigned owners = 0) noexcept : count_(owners) {}

  void add() noexcept {
    if (single_threaded()) {
      count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    } else {
      count_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  /// False if nobody is left to add to.
  bool add_to_others() noexcept {
    auto count = count_.load(std::memory_order_relaxed);
    while (count != 0 && !count_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) {
    }
    return count != 0;
  }
  /// How many there are. At 1 the only owner may change what is owned, since nobody else can become one.
  unsigned count() const noexcept { return count_.load(std::memory_order_acquire); }
  /// True for the last owner, who sees all that the others did.
  [[nodiscard]] bool remove() noexcept {
    if (single_threaded()) {
      auto const left = count_.load(std::memory_order_relaxed) - 1;
      count_.store(left, std::memory_order_relaxed);
      return left == 0;
    }
    return count_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

 private:
  atomic<unsigned> count_;
};

}  // namespace fibers::detail
