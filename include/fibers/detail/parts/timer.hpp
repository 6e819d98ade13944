// SPDX-License-Identifier: BSL-1.0
#pragma once

// One callback that is due at one time. It is embedded in its owner, so arming and disarming do not allocate. The timer
// queue is in a private header.

#include <boost/intrusive/set_hook.hpp>
#include <fibers/clock.hpp>

namespace fibers::detail {

struct timer : boost::intrusive::set_base_hook<> {
  /// Called when due, on the loop's own thread and outside of every fiber; the timer is already disarmed. May wake
  /// tasks and arm or disarm timers.
  using function = void (*)(timer&) noexcept;

  explicit timer(function f) noexcept : fire(f) {}
  bool armed() const noexcept { return is_linked(); }

  time_point when = time_point::max();
  function fire;
};

}  // namespace fibers::detail
