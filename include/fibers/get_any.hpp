// SPDX-License-Identifier: BSL-1.0
#pragma once

// Takes an item from the first of several queues that has one.
//
//   auto next = fibers::get_any(orders, quits);  // std::variant<order, quit>
//   if (auto* order = std::get_if<0>(&next)) …
//
// Invariant: one waiter is linked in the lists of all queues, so exactly one party, its claimer, hands over an item. A
// task that finds an item while its waiter is linked claims the waiter itself. Obligation: the waiter is unlinked from
// all queues before the task runs on. The claimer, before the wake, and the task, after it has linked all, both set
// begun_or_claimed_; the second of them unlinks.

#include <boost/assert/source_location.hpp>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/queue.hpp>
#include <tuple>
#include <utility>
#include <variant>

namespace fibers {

namespace detail {

class get_any_access {
 public:
  template <class... Queue>
  static std::variant<typename Queue::value_type...> get(boost::source_location const& place, Queue&... queues) {
    for (;;) {
      auto& self = enter(place);
      any_waiter<Queue...> w(self, place, queues...);
      w.wait();
      if (auto item = w.take()) return std::move(*item);
    }  // again: a queue was shut down, or the put() with an item for this task was cancelled at that moment
  }

 private:
  enum class found : unsigned char { nothing, item, another_claim, shut_down };

  // An entry in the list of one queue.
  template <class Queue>
  struct place_in : getter<typename Queue::value_type> {
    place_in(waiter& w, Queue& q) noexcept : getter<typename Queue::value_type>(w), queue(q) {}

    found join(owed_wakes& woken) {
      std::scoped_lock const guard(queue.lock_);
      bool const has_putters = queue.capacity_ == 0 && !queue.shut_down_ && !queue.putters_.empty();
      if (queue.items_.size() > 0 || has_putters) {
        if (!this->owner.try_claim(claim::notified)) return found::another_claim;
        queue.get_now(woken, this->item);
        return found::item;
      }
      if (queue.shut_down_) return found::shut_down;
      queue.getters_.link(*this);
      return found::nothing;
    }
    // For the claimer. No other party unlinks the entry, so the queue exists while the entry is linked.
    void leave() noexcept {
      if (!this->linked) return;
      std::scoped_lock const guard(queue.lock_);
      queue.getters_.unlink(*this);
    }

    Queue& queue;
  };

  template <class... Queue>
  class any_waiter final : public waiter {
   public:
    using item_type = std::variant<typename Queue::value_type...>;

    any_waiter(task_state& task, boost::source_location const& place, Queue&... queues) noexcept
        : waiter(task, place, lists::several), places_(joining<Queue>{*this, queues}...) {}

    void wait() {
      owed_wakes woken;
      std::size_t closed = 0;
      auto last = found::nothing;
      std::apply([&](auto&... each) { (look(each, woken, last, closed) && ...); }, places_);
      if (closed == sizeof...(Queue)) throw queue_shut_down();
      if (last == found::item) return leave_all();
      if (begun_or_claimed_.exchange(true)) leave_all();
      settle(task(), suspend(*this));
    }

    std::optional<item_type> take() {
      std::optional<item_type> taken;
      [&]<std::size_t... I>(std::index_sequence<I...>) { (move_out<I>(std::get<I>(places_).item, taken), ...); }
      (std::index_sequence_for<Queue...>());
      return taken;
    }

   private:
    template <class Q>
    struct joining {
      waiter& w;
      Q& queue;
      operator place_in<Q>() const noexcept { return place_in<Q>(w, queue); }
    };

    // Returns whether the search continues with the next queue.
    template <class Place>
    static bool look(Place& at, owed_wakes& woken, found& last, std::size_t& closed) {
      last = at.join(woken);
      if (last == found::shut_down) ++closed;
      return last == found::nothing || last == found::shut_down;
    }
    template <std::size_t I, class T>
    static void move_out(std::optional<T>& item, std::optional<item_type>& taken) {
      if (item.has_value()) taken.emplace(std::in_place_index<I>, std::move(*item));
    }

    void withdraw() noexcept override {
      if (begun_or_claimed_.exchange(true)) leave_all();
    }
    void leave_all() noexcept {
      std::apply([](auto&... each) { (each.leave(), ...); }, places_);
    }

    std::tuple<place_in<Queue>...> places_;
    atomic<bool> begun_or_claimed_ = false;
  };
};

}  // namespace detail

/// Waits until one of the queues has an item, and takes exactly one. The index of the variant identifies the queue.
///
/// Takes from the first argument that has an item, otherwise from the first queue that receives one. May suspend;
/// cancellation point. If cancelled, no item is taken. Thread-safe. Skips queues that are shut down and empty, and
/// throws queue_shut_down if all are. Throws invalid_state_error if a queue is destroyed during the wait. Complexity:
/// O(n) for n queues.
template <class... Queue>
requires(sizeof...(Queue) > 0) std::variant<typename Queue::value_type...> get_any(Queue&... queues) {
  return detail::get_any_access::get(boost::source_location(__FILE__, __LINE__, "fibers::get_any"), queues...);
}

}  // namespace fibers
