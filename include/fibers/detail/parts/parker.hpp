// SPDX-License-Identifier: BSL-1.0
#pragma once

// How an idle loop parks. The parkers that need only the operating system are in a private header.

#include <ctime>
#include <fibers/clock.hpp>

namespace fibers::detail {

/// By its kind a header-only component recognises its own parker. A dynamic_cast does not work: a shared library with
/// hidden symbols has its own type_info.
enum class parker_kind : unsigned char { other, asio, boost_fiber };

/// An unpark() before park() is not lost: that park() returns at once, or soon.
class parker {
 public:
  explicit parker(parker_kind kind = parker_kind::other) noexcept : kind_(kind) {}
  parker(parker const&) = delete;
  parker& operator=(parker const&) = delete;
  virtual ~parker() = default;

  parker_kind kind() const noexcept { return kind_; }

  /// Blocks until unpark(), until an event source of the parker is ready, or until `deadline`, a time of the steady
  /// clock (time_point::max(): none). May return early. On the loop's own thread. A parker that lets other loops run on
  /// the thread meanwhile holds a loop_absence while it does.
  virtual void park(time_point deadline) = 0;

  /// Thread-safe.
  virtual void unpark() noexcept = 0;

  /// unpark_from_signal() is async-signal-safe. Precondition: expect_signals() was called on the loop's own thread.
  virtual void expect_signals() {}
  virtual void unpark_from_signal() noexcept { unpark(); }

  /// Checks the event sources of park() without blocking. Called now and then while the loop is busy.
  virtual void poll() {}

  /// Returns true if an operation is under way that will end a park(): there is no deadlock yet. Called in virtual time
  /// only, when no task is ready; may poll.
  virtual bool busy() { return false; }

 private:
  parker_kind const kind_;
};

/// Converts a deadline to the system's monotonic clock. The result is at least 1 ns, since 0 often means no deadline.
std::timespec to_timespec(time_point deadline) noexcept;

}  // namespace fibers::detail
