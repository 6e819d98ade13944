// SPDX-License-Identifier: BSL-1.0
#pragma once

// The next item of whichever of several queues has one.
//
//   auto next = fibers::get_any(orders, quits);  // std::variant<order, quit>
//   if (auto* order = std::get_if<0>(&next)) …
//
// One waiter stands in the lists of all the queues, so exactly one of them can give it an item: whoever claims it. To
// take an item by itself while it stands in a list already, it must claim itself first.

#include <boost/assert/source_location.hpp>
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
      waiter w(self, place);
      std::tuple<stand<Queue>...> stands(where<Queue>{queues, w}...);

      std::size_t closed = 0;
      auto last = found::nothing;
      std::apply([&](auto&... each) { (look(each, w, last, closed) && ...); }, stands);
      if (closed == sizeof...(Queue)) throw queue_shut_down();
      auto const how = last == found::item ? claim::notified : suspend(w);
      settle(self, how);

      std::optional<std::variant<typename Queue::value_type...>> taken;
      [&]<std::size_t... I>(std::index_sequence<I...>) { (move_out<I>(std::get<I>(stands).entry.item, taken), ...); }
      (std::index_sequence_for<Queue...>());
      if (taken.has_value()) return std::move(*taken);
    }  // one of them was shut down, or the one who had an item for us was cancelled just then
  }

 private:
  enum class found : unsigned char { nothing, item, another, shut_down };

  template <class Queue>
  struct where {
    Queue& queue;
    waiter& sleeper;
  };

  // A place in the list of one queue.
  template <class Queue>
  struct stand {
    explicit stand(where<Queue> const& w) noexcept : queue(w.queue), entry(w.sleeper) {}
    stand(stand const&) = delete;
    stand& operator=(stand const&) = delete;
    ~stand() {
      if (!in_line || entry.orphaned.load(std::memory_order_acquire)) return;
      std::scoped_lock const guard(queue.lock_);
      queue.getters_.remove(entry);
    }

    found join(waiter& w) {
      std::unique_lock guard(queue.lock_);
      if (queue.items_.size() > 0 || (queue.capacity_ == 0 && queue.putters_.first() != nullptr)) {
        if (!w.try_claim(claim::notified)) return found::another;
        queue.get_now(guard, entry.item);
        return found::item;
      }
      if (queue.shut_down_) return found::shut_down;
      queue.getters_.push(entry);
      in_line = true;
      return found::nothing;
    }

    Queue& queue;
    typename Queue::getter entry;
    bool in_line = false;
  };

  // Is there any use in looking further?
  template <class Stand>
  static bool look(Stand& at, waiter& w, found& last, std::size_t& closed) {
    last = at.join(w);
    if (last == found::shut_down) ++closed;
    return last == found::nothing || last == found::shut_down;
  }

  template <std::size_t I, class T, class Taken>
  static void move_out(std::optional<T>& item, Taken& taken) {
    if (item.has_value()) taken.emplace(std::in_place_index<I>, std::move(*item));
  }
};

}  // namespace detail

/// Waits until one of the queues has an item, and takes exactly one: of the first of them that has any now, else of the
/// first that gets one. The index of the variant says which. Suspends. When cancelled, none is taken. Queues that are
/// shut down and empty are passed over; throws queue_shut_down if all are.
template <class... Queue>
requires(sizeof...(Queue) > 0) std::variant<typename Queue::value_type...> get_any(Queue&... queues) {
  return detail::get_any_access::get(boost::source_location(__FILE__, __LINE__, "fibers::get_any"), queues...);
}

}  // namespace fibers
