// SPDX-License-Identifier: BSL-1.0

#include <fibers/error.hpp>
#include <fibers/mutex.hpp>
#include <fibers/shield.hpp>
#include <mutex>
#include <utility>

namespace fibers {

void mutex::lock(boost::source_location const& place) {
  auto& self = detail::enter(place);
  std::unique_lock guard(spin_);
  auto where = detail::place_in_line::last;
  while (locked_ || (kept_ && where == detail::place_in_line::last)) {
    detail::simple_waiter<> w(self, place, waiters_);
    w.wait(guard, where);
    guard.lock();
    kept_ = false;
    if (!locked_) break;
    guard.unlock();  // a try_lock() was faster: wait again, at the head
    detail::enter(place);
    guard.lock();
    where = detail::place_in_line::first;
  }
  locked_ = true;
}

void mutex::lock_shielded(boost::source_location const& place) {
  with_shield([&] { lock(place); }, place);
}

bool mutex::try_lock() noexcept {
  std::scoped_lock const guard(spin_);
  return !std::exchange(locked_, true);
}

void mutex::unlock() {
  detail::owed_wakes woken;
  std::scoped_lock const guard(spin_);
  if (!locked_) throw invalid_state_error("fibers: mutex::unlock(): the mutex is not locked; lock() it first");
  locked_ = false;
  if (!kept_) kept_ = waiters_.notify_first(woken) != nullptr;
}

bool mutex::is_locked() const noexcept {
  std::scoped_lock const guard(spin_);
  return locked_;
}

}  // namespace fibers
