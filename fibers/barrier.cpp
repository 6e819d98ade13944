// SPDX-License-Identifier: BSL-1.0

// An arrival that seems to complete the round counts the waiters that are not cancelled, and numbers them if they are
// enough; no other arrival counts, so that each costs O(1). A waiter that is cancelled between the count and its claim
// (by another thread) has passed all the same, since the others go on as if it had: it finds its number when it runs,
// returns it, and its request stays pending.

#include <fibers/barrier.hpp>
#include <fibers/error.hpp>
#include <stdexcept>

namespace fibers {

struct barrier::entry : detail::wait_entry {
  using wait_entry::wait_entry;
  std::size_t number = 0;
  bool passed = false;  // written under the lock, or between the claim and the wake
  bool broken = false;
};

barrier::barrier(std::ptrdiff_t parties) : parties_(static_cast<std::size_t>(parties)) {
  if (parties < 1) throw std::invalid_argument("fibers: a barrier needs 1 party or more");
}

std::size_t barrier::arrive_and_wait(boost::source_location const& place) {
  auto& self = detail::enter(place);
  std::unique_lock guard(spin_);
  if (broken_) throw broken_barrier_error();
  if (waiters_.size() + 1 >= parties_ && waiters_.count() + 1 == parties_) {
    detail::wait_list passed;
    for (std::size_t i = 0; auto* const first = waiters_.pop(); ++i) {
      auto& other = static_cast<entry&>(*first);
      other.number = i;
      other.passed = true;
      if (other.sleeper.try_claim(detail::claim::notified)) {
        passed.push(other);
      } else {
        detail::wait_list::orphan(other);
      }
    }
    guard.unlock();
    passed.wake_all();
    return parties_ - 1;
  }

  detail::waiter w(self, place);
  entry mine(w);
  auto const how = waiters_.sleep(guard, mine);
  if (mine.broken) throw broken_barrier_error();
  if (mine.passed && how == detail::claim::cancelled) {
    detail::put_request_back(self);
  } else {
    guard = {};
    detail::settle(self, how);
  }
  return mine.number;
}

void barrier::break_round(bool broken_from_now_on) noexcept {
  detail::wait_list let_go;
  {
    std::scoped_lock const guard(spin_);
    broken_ = broken_from_now_on;
    while (auto* const first = waiters_.claim_first()) {
      static_cast<entry*>(first)->broken = true;
      let_go.push(*first);
    }
  }
  let_go.wake_all();
}

void barrier::abort() noexcept { break_round(true); }

void barrier::reset() noexcept { break_round(false); }

std::size_t barrier::waiting() const noexcept {
  std::scoped_lock const guard(spin_);
  return waiters_.size();
}

bool barrier::broken() const noexcept {
  std::scoped_lock const guard(spin_);
  return broken_;
}

}  // namespace fibers
