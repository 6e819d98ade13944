// SPDX-License-Identifier: BSL-1.0

#include <fibers/barrier.hpp>
#include <fibers/detail/engine/request.hpp>
#include <fibers/error.hpp>
#include <mutex>
#include <stdexcept>

namespace fibers {

using detail::round_state;

class barrier::arrival_waiter final : public detail::list_waiter<detail::arrival> {
 public:
  arrival_waiter(detail::task_state& task, boost::source_location const& place, barrier& of) noexcept
      : list_waiter(task, place, of.waiters_), barrier_(of) {}

 private:
  void left(detail::owed_wakes&) noexcept override {
    if (this->round == round_state::open) --barrier_.waiting_;
  }

  barrier& barrier_;
};

barrier::barrier(std::ptrdiff_t parties) : parties_(static_cast<std::size_t>(parties)) {
  if (parties < 1) throw std::invalid_argument("fibers: barrier: the number of parties must be at least 1");
}

std::size_t barrier::arrive_and_wait(boost::source_location const& place) {
  auto& self = detail::enter(place);
  detail::owed_wakes woken;
  std::unique_lock guard(spin_);
  if (broken_) throw broken_barrier_error();
  if (waiting_ + 1 == parties_) {
    end_round(woken, round_state::passed);
    return parties_ - 1;
  }

  ++waiting_;
  arrival_waiter w(self, place, *this);
  auto const how = w.sleep(guard);
  if (w.round == round_state::passed && how == detail::claim::cancelled) {
    detail::put_requests_back(self);  // the round was complete before the arrival could be withdrawn
  } else {
    detail::settle(self, how);
  }
  if (w.round == round_state::broken) throw broken_barrier_error();
  return w.number;
}

// An arrival that another thread is withdrawing at this moment is still linked, and belongs to this round.
void barrier::end_round(detail::owed_wakes& woken, round_state how) noexcept {
  std::size_t number = 0;
  waiters_.notify_all(woken, [&](detail::arrival& arrival) {
    if (arrival.round != round_state::open) return;  // of an earlier round
    arrival.round = how;
    arrival.number = number++;
  });
  waiting_ = 0;
}

void barrier::break_round(bool broken_from_now_on) noexcept {
  detail::owed_wakes woken;
  std::scoped_lock const guard(spin_);
  broken_ = broken_from_now_on;
  end_round(woken, round_state::broken);
}

void barrier::abort() noexcept { break_round(true); }

void barrier::reset() noexcept { break_round(false); }

std::size_t barrier::waiting() const noexcept {
  std::scoped_lock const guard(spin_);
  return waiting_;
}

bool barrier::broken() const noexcept {
  std::scoped_lock const guard(spin_);
  return broken_;
}

}  // namespace fibers
