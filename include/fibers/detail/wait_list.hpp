// SPDX-License-Identifier: BSL-1.0
#pragma once

// The one fair queue under every primitive: first come, first served, and who leaves loses its place and nothing else.
//
// Guarded by the lock of the primitive it belongs to. Who gives something (an item, a permit, a lock) takes the first
// waiter that can still be claimed, gives while holding the lock, and wakes it after. A waiter that was cancelled is
// found claimed, and is passed over; so what is given always reaches somebody, or stays.
//
//   sleeper:   lock; push; unlock; sleep;              if it was not notified: lock; off the list; unlock
//   notifier:  lock; claim the first; give; unlock; wake
//   canceller: claim; wake

#include <boost/intrusive/list.hpp>
#include <fibers/detail/spinlock.hpp>
#include <fibers/detail/suspend.hpp>
#include <fibers/detail/waiter.hpp>
#include <mutex>

namespace fibers::detail {

class wait_list {
 public:
  bool empty() const noexcept { return waiters_.empty(); }

  /// Takes out and claims the first that can be claimed; null if there is none. The caller owes it a wake().
  [[nodiscard]] waiter* claim_first(claim reason = claim::notified) noexcept {
    while (!waiters_.empty()) {
      auto& first = waiters_.front();
      waiters_.pop_front();
      if (first.try_claim(reason)) return &first;
    }
    return nullptr;
  }

  /// Stands at the end of the list until it is claimed; `lock` is given up meanwhile, and is not held afterwards.
  /// Throws the request if it was cancelled: then nothing was given. Call enter() first.
  void wait(std::unique_lock<spinlock>& lock, waiter& w) {
    waiters_.push_back(w);
    lock.unlock();
    auto const how = suspend(w);
    if (how != claim::notified) {
      std::scoped_lock const guard(*lock.mutex());
      if (w.is_linked()) waiters_.erase(waiters_.iterator_to(w));
    }
    settle(w.task(), how);
  }

 private:
  boost::intrusive::list<waiter, boost::intrusive::constant_time_size<false>> waiters_;
};

}  // namespace fibers::detail
