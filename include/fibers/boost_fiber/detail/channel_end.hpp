// SPDX-License-Identifier: BSL-1.0
#pragma once

// The common part of receiver and sender, a task's ends of a channel of Boost.Fiber.
//
// A pop or push of Boost.Fiber cannot be withdrawn once it has begun. Therefore a task does not call it: a Boost fiber
// does, at most one for each end, and its item belongs to the end until a task takes it. A cancelled task loses
// nothing. The destructor waits until the Boost fiber has left the channel.
//
// Invariant, under lock_: a task is in waiting_ only while the Boost fiber is at work (busy_). The Boost fiber serves
// waiting tasks until none is left. Its last touch sets busy_ to false and releases the lock.

#include <boost/assert/source_location.hpp>
#include <exception>
#include <fibers/boost_fiber/host.hpp>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/queue.hpp>
#include <memory>
#include <mutex>
#include <utility>

namespace fibers {

namespace detail {

/// The wait of a destructor for the end of the Boost fiber. Not cancellable.
class at_rest_waiter final : public list_waiter<> {
 public:
  using list_waiter::list_waiter;
  answer on_cancel() noexcept override { return answer::keep; }
};

/// The common base of receiver and sender. `Entry` is the list entry of a task that waits for the Boost fiber to hand
/// over or take an item.
template <class Channel, class Entry>
class boost_channel_end {
 public:
  using value_type = typename Channel::value_type;
  static_assert(queue_item<value_type>, "items must be objects that are moved and destroyed without throwing");

  boost_channel_end(boost_channel_end const&) = delete;
  boost_channel_end& operator=(boost_channel_end const&) = delete;

 protected:
  static constexpr bool is_buffered = requires(Channel & c, value_type& v) { c.try_pop(v); };

  boost_channel_end(Channel& channel, boost::source_location const& place) : channel_(channel), place_(place) {
    boost_host::here(place);
  }
  ~boost_channel_end() = default;

  /// Starts the Boost fiber. Pre- and postcondition: `lock` is held.
  template <class Work>
  void start(std::unique_lock<spinlock>& lock, Work work) {
    busy_ = true;
    lock.unlock();
    try {
      boost_host::start(work);
    } catch (...) {
      lock.lock();
      busy_ = false;
      throw;
    }
    lock.lock();
  }

  /// Called by the Boost fiber at its end: wakes the tasks that still wait. Its last touch.
  void stop(std::unique_lock<spinlock>& lock) noexcept {
    owed_wakes woken;
    waiting_.notify_all(woken);
    at_rest_.notify_all(woken);
    auto const outside = outside_;
    busy_ = false;
    lock.unlock();
    outside->wake();
  }
  /// As stop(), for good: later calls throw `why`.
  void stop_for_good(std::exception_ptr why) noexcept {
    std::unique_lock guard(lock_);
    end_ = std::move(why);
    stop(guard);
  }

  /// Throws if the channel was found closed, or an item could not be moved.
  void check_end() const {
    if (end_ != nullptr) std::rethrow_exception(end_);
  }
  [[noreturn]] void throw_end() {
    std::unique_lock guard(lock_);
    auto const why = end_;
    guard.unlock();
    std::rethrow_exception(why);
  }

  /// For a destructor: waits for the end of the Boost fiber. May suspend; not a cancellation point.
  void wait_until_at_rest() noexcept {
    std::unique_lock guard(lock_);
    if (!busy_) return;
    if (auto* const self = running_task()) {
      outside_wait const outside(*self);
      at_rest_waiter w(*self, place_, at_rest_);
      static_cast<void>(w.sleep(guard));
      return;
    }
    while (busy_) {  // the loop is over
      guard.unlock();
      outside_->sleep(time_point::max());
      guard.lock();
    }
  }

  Channel& channel_;
  boost::source_location const place_;
  spinlock lock_;
  bool busy_ = false;
  std::exception_ptr end_;           // queue_shut_down once the channel was found closed
  wait_list<Entry> waiting_{lock_};  // for the Boost fiber to hand over or take an item
  wait_list<> at_rest_{lock_};       // for the end of the Boost fiber
  std::shared_ptr<boost_sleeper> const outside_ = std::make_shared<boost_sleeper>();  // likewise, after the loop's end
};

}  // namespace detail

}  // namespace fibers
