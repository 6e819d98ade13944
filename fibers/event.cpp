// SPDX-License-Identifier: BSL-1.0

#include <fibers/event.hpp>
#include <mutex>

namespace fibers {

void event::set() noexcept {
  detail::owed_wakes woken;
  std::scoped_lock const guard(lock_);
  set_.store(true);
  waiters_.notify_all(woken);
}

void event::wait(boost::source_location const& place) {
  auto& self = detail::enter(place);
  if (is_set()) return;
  std::unique_lock guard(lock_);
  if (is_set()) return;
  detail::simple_waiter<> w(self, place, waiters_);
  w.wait(guard);
}

}  // namespace fibers
