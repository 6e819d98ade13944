// SPDX-License-Identifier: BSL-1.0
#pragma once

// One thing that is due at one time. It lives with its owner, so arming and disarming allocate nothing; the queue of
// them is in the private header of this room.

#include <boost/intrusive/set_hook.hpp>
#include <fibers/clock.hpp>

namespace fibers::detail {

struct timer : boost::intrusive::set_base_hook<> {
  /// Called once due, on the loop's own thread and outside of every fiber; the timer is disarmed then. It may wake
  /// tasks and arm or disarm timers; it must not throw.
  using function = void (*)(timer&) noexcept;

  explicit timer(function f) noexcept : fire(f) {}
  bool armed() const noexcept { return is_linked(); }

  time_point when = time_point::max();
  function fire;
};

}  // namespace fibers::detail
