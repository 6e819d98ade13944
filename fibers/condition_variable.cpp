// SPDX-License-Identifier: BSL-1.0

#include <fibers/condition_variable.hpp>
#include <fibers/error.hpp>
#include <optional>

namespace fibers {

void condition_variable::wait(std::unique_lock<mutex>& lock, boost::source_location const& place) {
  if (!lock.owns_lock()) {
    throw invalid_state_error(
        "fibers: condition_variable::wait(): the lock does not hold its mutex; lock the mutex first (" +
        detail::to_string(place) + ")");
  }
  auto& self = detail::enter(place);
  detail::simple_waiter<> w(self, place, waiters_);
  std::unique_lock guard(spin_);
  lock.unlock();  // a notifier needs `guard`, so it finds the waiter linked
  auto const how = w.sleep(guard);

  // A cancellation request from now on is thrown only after the mutex is locked.
  std::optional<cancelled_error> request;
  if (how == detail::claim::cancelled) request = detail::deliver_requests(self);
  while (!lock.owns_lock()) {
    try {
      lock.lock();
    } catch (cancelled_error const& later) {
      request = later;
    }
  }
  if (!request.has_value()) return detail::settle(self, how);
  if (how == detail::claim::notified) notify_one();  // this task does not use its notification
  throw *request;
}

void condition_variable::notify(std::size_t count) noexcept {
  detail::owed_wakes woken;
  std::scoped_lock const guard(spin_);
  while (count > 0 && waiters_.notify_first(woken) != nullptr) --count;
}

void condition_variable::notify_all() noexcept {
  detail::owed_wakes woken;
  std::scoped_lock const guard(spin_);
  waiters_.notify_all(woken);
}

}  // namespace fibers
