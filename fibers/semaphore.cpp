// SPDX-License-Identifier: BSL-1.0

#include <fibers/semaphore.hpp>
#include <fibers/shield.hpp>
#include <mutex>
#include <stdexcept>
#include <string>

namespace fibers {

class semaphore::acquisition final : public detail::list_waiter<detail::permit_request> {
 public:
  acquisition(detail::task_state& task, boost::source_location const& place, semaphore& of, count permits) noexcept
      : list_waiter(task, place, of.waiters_, permits), semaphore_(of) {}

 private:
  // The waiters behind it may want less.
  void left(detail::owed_wakes& woken) noexcept override { semaphore_.serve(woken); }

  semaphore& semaphore_;
};

semaphore::semaphore(count permits, count bound) : bound_(bound), available_(permits) {
  if (permits < 0 || permits > bound) {
    throw std::invalid_argument(
        "fibers: semaphore: it begins with at least 0 permits and at most its bound, not with " +
        std::to_string(permits));
  }
}

void semaphore::check(count permits) const {
  if (permits < 1 || permits > bound_) {
    throw std::invalid_argument("fibers: semaphore: " + std::to_string(permits) +
                                " permits: the number must be at least 1 and at most the bound");
  }
}

// Hands permits to the first waiters, as long as there are enough.
void semaphore::serve(detail::owed_wakes& woken) noexcept {
  while (auto const* const first =
             waiters_.notify_first(woken, [this](detail::permit_request const& r) { return r.wanted <= available_; })) {
    available_ -= first->wanted;
  }
}

void semaphore::acquire(count permits, boost::source_location const& place) {
  check(permits);
  auto& self = detail::enter(place);
  std::unique_lock guard(spin_);
  if (permits <= available_ && waiters_.empty()) {
    available_ -= permits;
    return;
  }
  acquisition w(self, place, *this, permits);
  w.wait(guard);
}

void semaphore::acquire_shielded(count permits, boost::source_location const& place) {
  with_shield([&] { acquire(permits, place); }, place);
}

bool semaphore::try_acquire(count permits) {
  check(permits);
  std::scoped_lock const guard(spin_);
  if (permits > available_ || !waiters_.empty()) return false;
  available_ -= permits;
  return true;
}

void semaphore::release(count permits) {
  check(permits);
  detail::owed_wakes woken;
  std::scoped_lock const guard(spin_);
  if (permits > bound_ - available_) {
    throw std::invalid_argument("fibers: semaphore::release(): more permits than the bound allows");
  }
  available_ += permits;
  serve(woken);
}

semaphore::count semaphore::available() const noexcept {
  std::scoped_lock const guard(spin_);
  return available_;
}

}  // namespace fibers
