// SPDX-License-Identifier: BSL-1.0
#pragma once

// The default parker, which blocks the loop's thread; and the virtual clock, with which no thread sleeps.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fibers/clock.hpp>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/parker.hpp>

namespace fibers::detail {

/// Blocks the thread.
class thread_parker final : public parker {
 public:
  void park(time_point deadline) override;
  void unpark() noexcept override;

 private:
  atomic<std::uint32_t> unparked_ = 0;
};

/// The clock of its thread. It stands still until it is moved, and never goes back.
class virtual_clock {
 public:
  virtual_clock() noexcept { use_virtual_now(&now_); }
  virtual_clock(virtual_clock const&) = delete;
  virtual_clock& operator=(virtual_clock const&) = delete;
  ~virtual_clock() { use_virtual_now(nullptr); }

  /// Jumps to `when`, unless that is in the past.
  void move_to(time_point when) noexcept {
    if (when > now_) now_ = when;
  }

  /// Calls sleep(real deadline) and moves by the real time that it takes, but not beyond `deadline`.
  template <class Sleep>
  void move_while(time_point deadline, Sleep sleep) {
    auto const start = std::chrono::steady_clock::now();
    auto const length = time_until(deadline);
    sleep(length < time_point::max() - start ? start + length : time_point::max());
    move_to(std::min(deadline, now_ + (std::chrono::steady_clock::now() - start)));
  }

 private:
  time_point now_ = {};
};

}  // namespace fibers::detail
