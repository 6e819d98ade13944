// SPDX-License-Identifier: BSL-1.0

#include <fibers/event.hpp>
#include <mutex>

namespace fibers {

void event::set() noexcept {
  detail::wait_list let_go;
  {
    std::scoped_lock const guard(lock_);
    set_.store(true);
    waiters_.claim_all_into(let_go);
  }
  let_go.wake_all();
}

void event::wait(boost::source_location const& place) {
  auto& self = detail::enter(place);
  if (is_set()) return;
  std::unique_lock guard(lock_);
  if (is_set()) return;
  detail::waiter w(self, place);
  waiters_.wait(guard, w);
}

}  // namespace fibers
