// SPDX-License-Identifier: BSL-1.0
#pragma once

// Time. Deadlines are absolute, so that one computed once covers a whole dialogue.

#include <chrono>
#include <cmath>
#include <fibers/detail/parts/cxx20.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace fibers {

using duration = std::chrono::steady_clock::duration;
using time_point = std::chrono::steady_clock::time_point;

/// Which clock a loop runs by. In virtual time the clock stands still while anything can run, and then jumps to
/// the next deadline.
enum class clock_kind : unsigned char { steady, virtual_time };

/// The running loop's time: virtual under virtual time, else (and outside a loop) the steady clock. Any thread.
struct clock {
  using duration = fibers::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = fibers::time_point;
  static constexpr bool is_steady = true;

  static time_point now() noexcept;
};

/// Stands for "never" wherever a limit or a deadline is expected.
struct no_timeout_t {
  constexpr operator duration() const noexcept { return duration::max(); }
  constexpr operator time_point() const noexcept { return time_point::max(); }
  friend constexpr bool operator==(duration length, no_timeout_t) noexcept { return length == duration::max(); }
  friend constexpr bool operator==(time_point when, no_timeout_t) noexcept { return when == time_point::max(); }
};
inline constexpr no_timeout_t no_timeout{};

/// Any length of time, as a parameter: a chrono duration of any kind, rounded up to what the clock counts, so that
/// nothing is early; or no_timeout. Throws std::invalid_argument for NaN.
class time_limit;

namespace detail {

/// Any duration as ours: rounded up, so that nothing is early, and cut to what fits. Throws
/// std::invalid_argument for NaN.
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

/// Now and so much; time_point::max() if that is too far away to be a time.
time_point deadline_after(duration length) noexcept;

/// From now until then, as far as that is a duration.
duration time_until(time_point when) noexcept;

/// "1.5 s", "20 ms"
std::string to_string(duration length);

/// Set by a loop in virtual time for its thread; else null. Returns what was set before.
time_point const* use_virtual_now(time_point const* now) noexcept;

}  // namespace detail

class time_limit {
 public:
  template <class Rep, class Period>
  time_limit(std::chrono::duration<Rep, Period> length) : length_(detail::to_duration(length)) {}
  time_limit(no_timeout_t) noexcept : length_(duration::max()) {}

  duration length() const noexcept { return length_; }
  /// The deadline, counted from now.
  time_point from_now() const noexcept { return detail::deadline_after(length_); }

 private:
  duration length_;
};

}  // namespace fibers
