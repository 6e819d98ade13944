// SPDX-License-Identifier: BSL-1.0

#include <array>
#include <cstdio>
#include <fibers/clock.hpp>
#include <utility>

namespace fibers {

namespace {
[[gnu::tls_model("initial-exec")]] constinit thread_local time_point const* virtual_now = nullptr;
}

time_point clock::now() noexcept { return virtual_now != nullptr ? *virtual_now : std::chrono::steady_clock::now(); }

time_point detail::deadline_after(duration length) noexcept {
  auto const now = clock::now();
  if (length > duration::zero() && now > time_point::max() - length) return time_point::max();
  if (length < duration::zero() && now < time_point::min() - length) return time_point::min();
  return now + length;
}

duration detail::time_until(time_point when) noexcept {
  auto const now = clock::now();
  if (when == time_point::max()) return duration::max();
  if (now > time_point() && when < time_point::min() + now.time_since_epoch()) return duration::min();
  return when - now;
}

std::string detail::to_string(duration length) {
  struct unit {
    double seconds;
    char const* name;
  };
  constexpr std::array units = {unit{1, "s"}, unit{1e-3, "ms"}, unit{1e-6, "us"}, unit{1e-9, "ns"}};
  auto const seconds = std::chrono::duration<double>(length).count();
  auto const* chosen = &units.front();
  while (seconds != 0 && std::abs(seconds) < chosen->seconds && chosen != &units.back()) ++chosen;
  char text[32];
  std::snprintf(text, sizeof text, "%g %s", seconds / chosen->seconds, chosen->name);
  return text;
}

time_point const* detail::use_virtual_now(time_point const* now) noexcept { return std::exchange(virtual_now, now); }

}  // namespace fibers
