// SPDX-License-Identifier: BSL-1.0

#include <fibers/semaphore.hpp>
#include <stdexcept>
#include <string>

namespace fibers {

struct semaphore::entry : detail::wait_entry {
  entry(detail::waiter& w, count n) noexcept : wait_entry(w), wanted(n) {}
  count const wanted;
};

semaphore::semaphore(count permits, count bound) : bound_(bound), available_(permits) {
  if (permits < 0 || permits > bound) {
    throw std::invalid_argument(
        "fibers: a semaphore begins with 0 or more permits and with no more than its bound, not with " +
        std::to_string(permits));
  }
}

void semaphore::check(count permits) const {
  if (permits < 1 || permits > bound_) {
    throw std::invalid_argument("fibers: " + std::to_string(permits) +
                                " permits of a semaphore: it must be 1 or more, and no more than its bound");
  }
}

// Gives permits to those whose turn it is; ends with the lock given up.
void semaphore::serve(std::unique_lock<detail::spinlock>& guard) noexcept {
  detail::wait_list served;
  waiters_.serve(
      served, [this](detail::wait_entry& first) { return static_cast<entry&>(first).wanted <= available_; },
      [this](detail::wait_entry& first) { available_ -= static_cast<entry&>(first).wanted; });
  guard.unlock();
  served.wake_all();
}

void semaphore::acquire(count permits, boost::source_location const& place) {
  check(permits);
  auto& self = detail::enter(place);
  std::unique_lock guard(spin_);
  if (permits <= available_ && !waiters_.anybody()) {
    available_ -= permits;
    return;
  }
  detail::waiter w(self, place);
  entry mine(w, permits);
  auto const how = waiters_.sleep(guard, mine);
  if (guard.owns_lock()) serve(guard);  // whoever came after us may want less
  detail::settle(self, how);
}

bool semaphore::try_acquire(count permits) {
  check(permits);
  std::scoped_lock const guard(spin_);
  if (permits > available_ || waiters_.anybody()) return false;
  available_ -= permits;
  return true;
}

void semaphore::release(count permits) {
  check(permits);
  std::unique_lock guard(spin_);
  if (permits > bound_ - available_) {
    throw std::invalid_argument("fibers: release() of more permits than were taken from a bounded semaphore");
  }
  available_ += permits;
  serve(guard);
}

semaphore::count semaphore::available() const noexcept {
  std::scoped_lock const guard(spin_);
  return available_;
}

}  // namespace fibers
