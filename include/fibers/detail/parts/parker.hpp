// SPDX-License-Identifier: BSL-1.0
#pragma once

// How an idle loop sleeps. The kinds that need nothing else than the system are in the private header of this room.

#include <ctime>
#include <fibers/clock.hpp>

namespace fibers::detail {

/// By which components that consist of headers know their own parkers again. A dynamic_cast would not do: a shared
/// library with hidden symbols has types of its own.
enum class parker_kind : unsigned char { other, asio, boost_fiber };

/// An unpark() that comes before park() is not lost: that park returns at once, or soon.
class parker {
 public:
  explicit parker(parker_kind kind = parker_kind::other) noexcept : kind_(kind) {}
  parker(parker const&) = delete;
  parker& operator=(parker const&) = delete;
  virtual ~parker() = default;

  parker_kind kind() const noexcept { return kind_; }

  /// Sleeps until unpark(), until something it looks after has happened, or until `deadline`, which is a time of the
  /// steady clock (time_point::max(): none). May return early. The loop's own thread. One that lets other loops run on
  /// the thread meanwhile does so within a loop_absence.
  virtual void park(time_point deadline) = 0;

  /// Any thread.
  virtual void unpark() noexcept = 0;

  /// The same for signal handlers, once it was said on the loop's own thread that there may be some.
  virtual void expect_signals() {}
  virtual void unpark_from_signal() noexcept { unpark(); }

  /// Looks, without sleeping, for what park() would have woken up for. Called now and then while the loop is busy.
  virtual void poll() {}

  /// Is something under way that will end a park() by itself? Then nothing is a deadlock yet. Asked in virtual time
  /// only, when nothing is ready; may look as poll() does.
  virtual bool busy() { return false; }

 private:
  parker_kind const kind_;
};

/// A deadline as the system wants it, of its monotonic clock: at least a nanosecond after the beginning, since 0 often
/// means none.
std::timespec to_timespec(time_point deadline) noexcept;

}  // namespace fibers::detail
