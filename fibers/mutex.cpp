// SPDX-License-Identifier: BSL-1.0

#include <fibers/error.hpp>
#include <fibers/mutex.hpp>
#include <fibers/shield.hpp>
#include <mutex>

namespace fibers {

void mutex::lock(boost::source_location const& place) {
  auto& self = detail::enter(place);
  std::unique_lock guard(spin_);
  auto where = detail::place_in_line::last;
  while (locked_ || (kept_ && where == detail::place_in_line::last)) {
    detail::waiter w(self, place);
    waiters_.wait(guard, w, where);
    guard.lock();
    kept_ = false;
    if (!locked_) break;
    guard.unlock();  // somebody has tried, and had it: as if we were waiting still
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
  std::unique_lock guard(spin_);
  if (!locked_) throw invalid_state_error("fibers: unlock() of a mutex that is not locked; lock() it first");
  locked_ = false;
  auto* const next = kept_ ? nullptr : waiters_.claim_first();
  if (next != nullptr) kept_ = true;
  guard.unlock();
  if (next != nullptr) wake(*next);
}

bool mutex::is_locked() const noexcept {
  std::scoped_lock const guard(spin_);
  return locked_;
}

}  // namespace fibers
