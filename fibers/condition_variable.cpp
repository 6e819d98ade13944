// SPDX-License-Identifier: BSL-1.0

#include <fibers/condition_variable.hpp>
#include <fibers/error.hpp>
#include <optional>

namespace fibers {

void condition_variable::wait(std::unique_lock<mutex>& lock, boost::source_location const& place) {
  if (!lock.owns_lock()) {
    throw invalid_state_error("fibers: a condition_variable was waited for without its lock; lock the mutex first (" +
                              detail::to_string(place) + ")");
  }
  auto& self = detail::enter(place);
  auto how = detail::claim::notified;
  {
    std::unique_lock guard(spin_);
    detail::waiter w(self, place);
    lock.unlock();  // whoever locks now finds us in the list: it cannot look before the guard is given up
    how = waiters_.sleep(guard, w);
  }

  // A request that comes from here on does not end the wait: the lock must be held first.
  std::optional<cancelled_error> request;
  if (how == detail::claim::cancelled) request = detail::take_request(self);
  while (!lock.owns_lock()) {
    try {
      lock.lock();
    } catch (cancelled_error const& later) {
      request = later;
    }
  }
  if (!request.has_value()) return detail::settle(self, how);
  if (how == detail::claim::notified) notify_one();  // we do not use it
  throw *request;
}

void condition_variable::notify(std::size_t count) noexcept {
  for (; count > 0; --count) {
    std::unique_lock guard(spin_);
    auto* const first = waiters_.claim_first();
    guard.unlock();
    if (first == nullptr) return;
    wake(*first);
  }
}

void condition_variable::notify_all() noexcept {
  detail::wait_list notified;
  {
    std::scoped_lock const guard(spin_);
    waiters_.claim_all_into(notified);
  }
  notified.wake_all();
}

}  // namespace fibers
