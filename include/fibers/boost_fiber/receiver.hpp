// SPDX-License-Identifier: BSL-1.0
#pragma once

// Tasks take items out of a channel of Boost.Fiber, buffered or not.
//
//   boost::fibers::buffered_channel<job> channel(16);      // Boost fibers push into it
//   …
//   fibers::boost_fiber::receiver jobs(channel);           // within a task
//   for (auto const& job : jobs) …                         // until the channel is closed and empty

#include <cxxabi.h>

#include <boost/assert/source_location.hpp>
#include <boost/fiber/channel_op_status.hpp>
#include <boost/fiber/exceptions.hpp>
#include <cstddef>
#include <exception>
#include <fibers/boost_fiber/detail/channel_end.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/error.hpp>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>

namespace fibers::boost_fiber {

/// Takes items out of a channel, for tasks of one loop.
///
/// The channel may have other consumers. Preconditions: no task uses the receiver when it is destroyed, and the channel
/// outlives the receiver.
template <class Channel>
class receiver
    : public fibers::detail::boost_channel_end<Channel, fibers::detail::getter<typename Channel::value_type>> {
  using getter = fibers::detail::getter<typename Channel::value_type>;
  using base = fibers::detail::boost_channel_end<Channel, getter>;

 public:
  using value_type = typename base::value_type;

  /// Within a task. Takes no item yet. Throws invalid_state_error if the thread has no loop, or if its loop parks in
  /// another way.
  explicit receiver(Channel& channel, boost::source_location const& place = BOOST_CURRENT_LOCATION)
      : base(channel, place) {}

  /// Closes the channel: otherwise a Boost fiber that waits in it could not be recalled.
  ///
  /// May suspend until the Boost fiber has left the channel, which is soon; a cancellation does not interrupt this
  /// wait. An item that a cancelled get() has left here is destroyed, unless a later get() or try_get() has taken it.
  ~receiver() {
    this->channel_.close();
    this->wait_until_at_rest();
  }

  /// Waits until there is an item, and takes it.
  ///
  /// May suspend; cancellation point: an item that is on its way stays here for the next call. Throws queue_shut_down
  /// once the channel is closed and empty.
  value_type get(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto& self = fibers::detail::enter(place);
    std::unique_lock guard(this->lock_);
    for (;;) {
      if (auto item = get_now(guard)) return std::move(*item);
      this->check_end();
      if (this->busy_) break;
      this->start(guard, [this] { pop(); });
    }
    fibers::detail::outside_wait const outside(self);
    fibers::detail::simple_waiter<getter> w(self, place, this->waiting_);
    w.wait(guard);
    if (!w.item.has_value()) this->throw_end();
    return std::move(*w.item);
  }

  /// Returns an item if there is one, including an item that a cancelled get() has left here. Does not suspend. (For an
  /// unbuffered channel, returns only such an item.)
  std::optional<value_type> try_get() {
    std::unique_lock guard(this->lock_);
    return get_now(guard);
  }

  /// Iterates over the items until the channel is closed and empty. The increment is get().
  class iterator {
   public:
    using value_type = receiver::value_type;
    using difference_type = std::ptrdiff_t;

    iterator() = default;
    explicit iterator(receiver& from) : from_(&from) { ++*this; }
    value_type&& operator*() const noexcept { return std::move(*item_); }
    iterator& operator++() {
      try {
        item_.reset();
        item_.emplace(from_->get());
      } catch (queue_shut_down const&) {
        from_ = nullptr;
      }
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(iterator const& i, std::default_sentinel_t) noexcept { return i.from_ == nullptr; }

   private:
    receiver* from_ = nullptr;
    mutable std::optional<value_type> item_;
  };
  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  // Releases the lock while it uses the channel.
  std::optional<value_type> get_now(std::unique_lock<fibers::detail::spinlock>& guard) {
    if (left_.has_value()) return std::exchange(left_, std::nullopt);
    if constexpr (base::is_buffered) {
      if (!this->busy_) {
        guard.unlock();
        value_type item;
        auto const status = this->channel_.try_pop(item);
        guard.lock();
        if (status == boost::fibers::channel_op_status::success) return item;
      }
    }
    return std::nullopt;
  }

  // Runs on the Boost fiber, as long as a task waits.
  void pop() {
    for (;;) {
      std::unique_lock guard(this->lock_);
      if (this->waiting_.empty()) return this->stop(guard);
      guard.unlock();
      if constexpr (!base::is_buffered) {  // after close() its slot may refer to a destroyed item
        if (this->channel_.is_closed()) return this->stop_for_good(std::make_exception_ptr(queue_shut_down()));
      }
      std::optional<value_type> item;
      try {
        item.emplace(this->channel_.value_pop());
      } catch (boost::fibers::fiber_error const&) {
        return this->stop_for_good(std::make_exception_ptr(queue_shut_down()));
      } catch (abi::__forced_unwind&) {
        throw;
      } catch (...) {
        return this->stop_for_good(std::current_exception());
      }
      fibers::detail::owed_wakes woken;
      guard.lock();
      auto* const first = this->waiting_.notify_first(woken);
      if (first == nullptr) {
        left_.emplace(std::move(*item));
        return this->stop(guard);
      }
      first->item.emplace(std::move(*item));
      guard.unlock();
    }
  }

  std::optional<value_type> left_;  // by a cancelled get()
};

}  // namespace fibers::boost_fiber
