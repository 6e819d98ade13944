// SPDX-License-Identifier: BSL-1.0

#include <fibers/clock.hpp>

namespace fibers {

namespace {
constinit thread_local time_point const* virtual_now = nullptr;
}

time_point clock::now() noexcept { return virtual_now != nullptr ? *virtual_now : std::chrono::steady_clock::now(); }

time_point detail::deadline_after(duration length) noexcept {
  auto const now = clock::now();
  if (length > duration::zero() && now > time_point::max() - length) return time_point::max();
  if (length < duration::zero() && now < time_point::min() - length) return time_point::min();
  return now + length;
}

void detail::use_virtual_now(time_point const* now) noexcept { virtual_now = now; }

}  // namespace fibers
