// SPDX-License-Identifier: BSL-1.0
#pragma once

// Tasks put items into a channel of Boost.Fiber, buffered or not.
//
//   fibers::boost_fiber::sender jobs(channel);             // within a task
//   jobs.put(std::move(job));
//   jobs.flush();
//   channel.close();

#include <cxxabi.h>

#include <boost/assert/source_location.hpp>
#include <boost/fiber/channel_op_status.hpp>
#include <concepts>
#include <exception>
#include <fibers/boost_fiber/detail/channel_end.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/error.hpp>
#include <mutex>
#include <optional>
#include <utility>

namespace fibers::detail {

template <class Channel>
struct boost_putter : wait_entry {
  using value_type = typename Channel::value_type;
  boost_putter(waiter& w, value_type& what) noexcept : wait_entry(w), item(what) {}
  value_type& item;
  bool taken = false;
};

}  // namespace fibers::detail

namespace fibers::boost_fiber {

/// Puts items into a channel, for tasks of one loop. While the channel is full, the sender holds one more item.
///
/// The channel may have other producers. Preconditions: no task uses the sender when it is destroyed, and the channel
/// outlives the sender.
template <class Channel>
class sender : public fibers::detail::boost_channel_end<Channel, fibers::detail::boost_putter<Channel>> {
  using putter = fibers::detail::boost_putter<Channel>;
  using base = fibers::detail::boost_channel_end<Channel, putter>;

 public:
  using value_type = typename base::value_type;

  /// Within a task. Throws invalid_state_error if the thread has no loop, or if its loop parks in another way.
  explicit sender(Channel& channel, boost::source_location const& place = BOOST_CURRENT_LOCATION)
      : base(channel, place) {}

  /// May suspend until the channel has taken the held item, or is closed. A cancellation does not interrupt this wait.
  ~sender() { this->wait_until_at_rest(); }

  /// Waits until the sender can hold the item. The channel receives it as soon as there is space.
  ///
  /// May suspend; cancellation point: the item is unchanged. Throws queue_shut_down, with the item unchanged, once the
  /// channel is closed.
  void put(value_type&& item, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto& self = fibers::detail::enter(place);
    if (put_now(item)) return;
    std::unique_lock guard(this->lock_);
    this->check_end();
    if (this->channel_.is_closed()) throw queue_shut_down();
    if (this->busy_) {
      fibers::detail::outside_wait const outside(self);
      fibers::detail::simple_waiter<putter> w(self, place, this->waiting_, item);
      w.wait(guard);
      if (!w.taken) this->throw_end();
      return;
    }
    held_.emplace(std::move(item));
    try {
      this->start(guard, [this] { push(); });
    } catch (...) {
      item = *std::exchange(held_, std::nullopt);
      throw;
    }
  }
  void put(value_type const& item,
           boost::source_location const& place = BOOST_CURRENT_LOCATION) requires std::copy_constructible<value_type> {
    put(value_type(item), place);
  }

  /// Waits until the channel has taken all items.
  ///
  /// May suspend; cancellation point. Throws queue_shut_down if the channel was closed before that. (For an unbuffered
  /// channel also if it was closed just after the last item was taken: Boost.Fiber does not distinguish these cases.)
  void flush(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto& self = fibers::detail::enter(place);
    std::unique_lock guard(this->lock_);
    if (this->busy_) {
      fibers::detail::outside_wait const outside(self);
      fibers::detail::simple_waiter<> w(self, place, this->at_rest_);
      w.wait(guard);
      guard.lock();
    }
    this->check_end();
  }

  /// Returns, once, the item that the sender held when the channel was closed. Does not suspend.
  ///
  /// For an unbuffered channel, a receiver may have got the item nevertheless: see flush(). If its items cannot be
  /// copied, the push has destroyed the item, and there is none.
  std::optional<value_type> take_unsent() {
    std::scoped_lock const guard(this->lock_);
    return this->busy_ ? std::nullopt : std::exchange(held_, std::nullopt);
  }

 private:
  // Puts the item directly into the channel. Boost.Fiber moves the item only if there is space.
  bool put_now(value_type& item) {
    if constexpr (base::is_buffered) {
      {
        std::scoped_lock const guard(this->lock_);
        if (this->busy_) return false;  // the item would overtake others
      }
      return this->channel_.try_push(std::move(item)) == boost::fibers::channel_op_status::success;
    }
    return false;
  }

  // Runs on the Boost fiber, as long as there are items.
  void push() {
    for (;;) {
      try {
        if (push_held() != boost::fibers::channel_op_status::success) {
          if constexpr (!base::is_buffered && !std::copy_constructible<value_type>) held_.reset();
          return this->stop_for_good(std::make_exception_ptr(queue_shut_down()));
        }
        held_.reset();
      } catch (abi::__forced_unwind&) {
        throw;
      } catch (...) {
        return this->stop_for_good(std::current_exception());
      }
      fibers::detail::owed_wakes woken;
      std::unique_lock guard(this->lock_);
      auto* const first = this->waiting_.notify_first(woken);
      if (first == nullptr) return this->stop(guard);
      held_.emplace(std::move(first->item));
      first->taken = true;
    }
  }

  // The push of an unbuffered channel moves the item even if the push then fails.
  auto push_held() {
    if constexpr (!base::is_buffered && std::copy_constructible<value_type>) {
      return this->channel_.push(std::as_const(*held_));
    } else {
      return this->channel_.push(std::move(*held_));
    }
  }

  std::optional<value_type> held_;  // the Boost fiber's while busy_
};

}  // namespace fibers::boost_fiber
