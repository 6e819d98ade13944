// SPDX-License-Identifier: BSL-1.0
#pragma once

// The lock of all small shared state. Held for a few instructions, never across a fiber switch, never while unknown
// code is called.

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
    } else if (locked_.exchange(true, std::memory_order_acquire)) {  // sees the last owner's writes
      wait();
    }
  }
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }
  /// For assertions: false is certain, true may be another thread's lock.
  bool is_locked() const noexcept { return locked_.load(std::memory_order_relaxed); }

 private:
  void wait() noexcept;

  atomic<bool> locked_ = false;
};

/// A thread-safe count of owners.
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
  /// Returns false, without effect, if there is no owner left.
  bool add_to_others() noexcept {
    auto count = count_.load(std::memory_order_relaxed);
    while (count != 0 && !count_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) {
    }
    return count != 0;
  }
  /// The number of owners. At 1 the only owner may modify the object, since no other owner can appear.
  unsigned count() const noexcept { return count_.load(std::memory_order_acquire); }
  /// Returns true to the last owner, to which all writes of the others are visible.
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
