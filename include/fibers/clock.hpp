// SPDX-License-Identifier: BSL-1.0
#pragma once

// Durations, deadlines and the clock of a loop. Deadlines are absolute, so one deadline covers several operations.

#include <chrono>
#include <cmath>
#include <fibers/detail/parts/cxx20.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace fibers {

using duration = std::chrono::steady_clock::duration;
using time_point = std::chrono::steady_clock::time_point;

/// The clock of a loop. Virtual time stands still while a task is ready, then jumps to the next deadline.
enum class clock_kind : unsigned char { steady, virtual_time };

/// The time of this thread's loop: virtual if the loop runs in virtual time, otherwise the steady clock.
///
/// Thread-safe. On a thread without a loop it is the steady clock.
struct clock {
  using duration = fibers::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = fibers::time_point;
  static constexpr bool is_steady = true;

  static time_point now() noexcept;
};

/// No limit, wherever a limit or a deadline is expected.
struct no_timeout_t {
  constexpr operator duration() const noexcept { return duration::max(); }
  constexpr operator time_point() const noexcept { return time_point::max(); }
  friend constexpr bool operator==(duration length, no_timeout_t) noexcept { return length == duration::max(); }
  friend constexpr bool operator==(time_point when, no_timeout_t) noexcept { return when == time_point::max(); }
};
inline constexpr no_timeout_t no_timeout{};

/// The parameter type for a length of time: any chrono duration, or no_timeout.
///
/// Rounds up to the clock's resolution, so that no wait ends early. Throws std::invalid_argument for NaN.
class time_limit;

namespace detail {

/// Converts any duration: rounds up, so that no wait ends early, and saturates. Throws std::invalid_argument for NaN.
template <class Rep, class Period>
duration to_duration(std::chrono::duration<Rep, Period> length) {
  using seconds = std::chrono::duration<long double>;
  if constexpr (std::chrono::treat_as_floating_point_v<Rep>) {
    if (std::isnan(length.count())) {
      throw std::invalid_argument("fibers: a duration is NaN; for no time limit write fibers::no_timeout");
    }
  }
  if (seconds(length) >= seconds(duration::max())) return duration::max();
  if (seconds(length) <= seconds(duration::min())) return duration::min();
  return std::chrono::ceil<duration>(length);
}
constexpr duration to_duration(duration length) noexcept { return length; }
constexpr duration to_duration(no_timeout_t) noexcept { return duration::max(); }

/// Returns now + length, saturated: time_point::max() stands for no deadline.
time_point deadline_after(duration length) noexcept;

/// Returns when - now, saturated. Returns duration::max() for time_point::max().
duration time_until(time_point when) noexcept;

/// Returns a text such as "1.5 s" or "20 ms".
std::string to_string(duration length);

/// Sets the virtual time of this thread; null selects the steady clock. Returns the former value. Called by a loop.
time_point const* use_virtual_now(time_point const* now) noexcept;

}  // namespace detail

class time_limit {
 public:
  template <class Rep, class Period>
  time_limit(std::chrono::duration<Rep, Period> length) : length_(detail::to_duration(length)) {}
  time_limit(no_timeout_t) noexcept : length_(duration::max()) {}

  duration length() const noexcept { return length_; }
  /// Returns the deadline, counted from now.
  time_point from_now() const noexcept { return detail::deadline_after(length_); }

 private:
  duration length_;
};

}  // namespace fibers
