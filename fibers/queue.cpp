// SPDX-License-Identifier: BSL-1.0

#include <fibers/queue.hpp>
#include <stdexcept>

namespace fibers::detail {

void queue_state::done(std::size_t items, wait_list& joined) noexcept {
  unfinished_ -= items;
  if (unfinished_ == 0) joiners_.claim_all_into(joined);
}

void queue_state::task_done() {
  wait_list joined;
  {
    std::scoped_lock const guard(lock_);
    if (unfinished_ == 0) {
      throw std::invalid_argument("fibers: task_done() more often than put(); call it once for each item that was got");
    }
    done(1, joined);
  }
  joined.wake_all();
}

void queue_state::join(boost::source_location const& place) {
  auto& self = enter(place);
  std::unique_lock guard(lock_);
  if (unfinished_ == 0) return;
  waiter w(self, place);
  joiners_.wait(guard, w);
}

}  // namespace fibers::detail
