// SPDX-License-Identifier: BSL-1.0

#include <fibers/error.hpp>
#include <fibers/shared_mutex.hpp>
#include <fibers/shield.hpp>
#include <mutex>

namespace fibers {

class shared_mutex::acquisition final : public detail::list_waiter<detail::lock_request> {
 public:
  acquisition(detail::task_state& task, boost::source_location const& place, shared_mutex& of, mode m) noexcept
      : list_waiter(task, place, of.waiters_, m), mutex_(of) {}

 private:
  // The waiters behind it may have been blocked by it alone.
  void left(detail::owed_wakes& woken) noexcept override { mutex_.serve(woken); }

  shared_mutex& mutex_;
};

bool shared_mutex::may_have(mode wanted) const noexcept {
  return !writer_ && (wanted == mode::shared || readers_ == 0);
}

void shared_mutex::take(mode wanted) noexcept {
  if (wanted == mode::exclusive) {
    writer_ = true;
  } else {
    ++readers_;
  }
}

// Hands the lock to the first waiters, as long as their modes are compatible.
void shared_mutex::serve(detail::owed_wakes& woken) noexcept {
  while (auto const* const first =
             waiters_.notify_first(woken, [this](detail::lock_request const& r) { return may_have(r.wanted); })) {
    take(first->wanted);
  }
}

void shared_mutex::lock_as(mode wanted, boost::source_location const& place) {
  auto& self = detail::enter(place);
  std::unique_lock guard(spin_);
  if (may_have(wanted) && waiters_.empty()) return take(wanted);
  acquisition w(self, place, *this, wanted);
  w.wait(guard);
}

void shared_mutex::lock_shielded(boost::source_location const& place) {
  with_shield([&] { lock(place); }, place);
}

void shared_mutex::lock_shared_shielded(boost::source_location const& place) {
  with_shield([&] { lock_shared(place); }, place);
}

bool shared_mutex::try_lock_as(mode wanted) noexcept {
  std::scoped_lock const guard(spin_);
  if (!may_have(wanted) || !waiters_.empty()) return false;
  take(wanted);
  return true;
}

void shared_mutex::unlock() {
  detail::owed_wakes woken;
  std::scoped_lock const guard(spin_);
  if (!writer_) throw invalid_state_error("fibers: shared_mutex::unlock(): no writer holds it; lock() it first");
  writer_ = false;
  serve(woken);
}

void shared_mutex::unlock_shared() {
  detail::owed_wakes woken;
  std::scoped_lock const guard(spin_);
  if (readers_ == 0) {
    throw invalid_state_error("fibers: shared_mutex::unlock_shared(): no reader holds it; lock_shared() it first");
  }
  --readers_;
  serve(woken);
}

}  // namespace fibers
