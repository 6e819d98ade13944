// SPDX-License-Identifier: BSL-1.0

#include <fibers/queue.hpp>
#include <stdexcept>

namespace fibers::detail {

void queue_state::done(std::size_t items, owed_wakes& woken) noexcept {
  unfinished_ -= items;
  if (unfinished_ == 0) joiners_.notify_all(woken);
}

void queue_state::task_done() {
  owed_wakes woken;
  std::scoped_lock const guard(lock_);
  if (unfinished_ == 0) {
    throw std::invalid_argument("fibers: queue::task_done(): called more often than put(); call it once for each item");
  }
  done(1, woken);
}

void queue_state::join(boost::source_location const& place) {
  auto& self = enter(place);
  std::unique_lock guard(lock_);
  if (unfinished_ == 0) return;
  simple_waiter<> w(self, place, joiners_);
  w.wait(guard);
}

}  // namespace fibers::detail
