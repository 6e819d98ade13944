// SPDX-License-Identifier: BSL-1.0

#include <fibers/error.hpp>
#include <fibers/shared_mutex.hpp>

namespace fibers {

struct shared_mutex::entry : detail::wait_entry {
  entry(detail::waiter& w, wish what) noexcept : wait_entry(w), wanted(what) {}
  wish const wanted;
};

bool shared_mutex::may_have(wish w) const noexcept { return !writer_ && (w == wish::shared || readers_ == 0); }

void shared_mutex::take(wish w) noexcept {
  if (w == wish::alone) {
    writer_ = true;
  } else {
    ++readers_;
  }
}

// Gives it to those whose turn it is; ends with the lock given up.
void shared_mutex::serve(std::unique_lock<detail::spinlock>& guard) noexcept {
  detail::wait_list served;
  waiters_.serve(
      served, [this](detail::wait_entry& first) { return may_have(static_cast<entry&>(first).wanted); },
      [this](detail::wait_entry& first) { take(static_cast<entry&>(first).wanted); });
  guard.unlock();
  served.wake_all();
}

void shared_mutex::lock_as(wish w, boost::source_location const& place) {
  auto& self = detail::enter(place);
  std::unique_lock guard(spin_);
  if (may_have(w) && !waiters_.anybody()) return take(w);
  detail::waiter sleeper(self, place);
  entry mine(sleeper, w);
  auto const how = waiters_.sleep(guard, mine);
  if (guard.owns_lock()) serve(guard);  // whoever came after us may have waited for us only
  detail::settle(self, how);
}

bool shared_mutex::try_lock_as(wish w) noexcept {
  std::scoped_lock const guard(spin_);
  if (!may_have(w) || waiters_.anybody()) return false;
  take(w);
  return true;
}

void shared_mutex::unlock() {
  std::unique_lock guard(spin_);
  if (!writer_) throw invalid_state_error("fibers: unlock() of a shared_mutex that is not locked; lock() it first");
  writer_ = false;
  serve(guard);
}

void shared_mutex::unlock_shared() {
  std::unique_lock guard(spin_);
  if (readers_ == 0) {
    throw invalid_state_error("fibers: unlock_shared() of a shared_mutex that no reader holds; lock_shared() it first");
  }
  --readers_;
  serve(guard);
}

}  // namespace fibers
