// SPDX-License-Identifier: BSL-1.0
#pragma once

// How an idle loop sleeps: three functions. An unpark() that comes before park() is not lost: that park returns at
// once.

#include <atomic>
#include <cstdint>
#include <fibers/clock.hpp>

namespace fibers::detail {

class parker {
 public:
  parker() = default;
  parker(parker const&) = delete;
  parker& operator=(parker const&) = delete;
  virtual ~parker() = default;

  /// Sleeps until unpark() or `deadline` (time_point::max(): none); may return early. The loop's own thread.
  virtual void park(time_point deadline) = 0;

  /// Any thread, and signal handlers.
  virtual void unpark() noexcept = 0;

  /// Looks, without sleeping, for what park() would have woken up for. Called now and then while the loop is busy.
  virtual void poll() {}
};

/// The whole thread sleeps.
class thread_parker final : public parker {
 public:
  void park(time_point deadline) override;
  void unpark() noexcept override;

 private:
  std::atomic<std::uint32_t> unparked_ = 0;
};

/// Nobody sleeps while time can be moved instead: it jumps to the deadline. With no deadline, or while something
/// outside of the loop is under way that time must not overtake, it sleeps as a thread does.
class virtual_parker final : public parker {
 public:
  virtual_parker() noexcept { use_virtual_now(&now_); }
  ~virtual_parker() override { use_virtual_now(nullptr); }

  void park(time_point deadline) override;
  void unpark() noexcept override { thread_.unpark(); }

 private:
  time_point now_ = {};
  thread_parker thread_;
};

}  // namespace fibers::detail
