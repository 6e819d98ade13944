// SPDX-License-Identifier: BSL-1.0
#pragma once

// Items from some tasks to others, each to exactly one.
//
//   fibers::queue<job> jobs(10);       // at most 10 lie in it; put() waits while it is full
//   jobs.put(job);                     // … and in another task:
//   for (auto job : jobs) work(job);   // until it is shut down and empty
//
// queue<T> gives the oldest first, lifo_queue<T> the newest, priority_queue<T> the least. A capacity of 0 is a
// rendezvous: put() waits for somebody who takes the item. Fair: those who wait are served in the order in which they
// came. For tasks of all threads' loops.
//
// Nothing is lost: a put() that is cancelled has not touched the item, a get() that is cancelled has taken none. So
// items put are items got and items in the queue.
//
// Invariants: items lie in the queue only if nobody waits for one; somebody waits to put only if it is full.

#include <algorithm>
#include <boost/assert/source_location.hpp>
#include <boost/circular_buffer.hpp>
#include <concepts>
#include <cstddef>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/error.hpp>
#include <functional>
#include <iterator>
#include <limits>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace fibers {

/// As a capacity: a queue that is never full.
inline constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

namespace detail {

// --- in which order items come out ---

// Grows by doubling, and keeps what it has: then putting and getting allocate nothing.
template <class T>
class ring {
 public:
  std::size_t size() const noexcept { return items_.size(); }
  void make_room() {
    if (items_.full()) items_.set_capacity(std::max<std::size_t>(8, 2 * items_.capacity()));
  }
  void push(T&& item) noexcept { items_.push_back(std::move(item)); }
  void clear() noexcept { items_.clear(); }

 protected:
  boost::circular_buffer<T, allocator<T>> items_;
};

template <class T>
struct oldest_first : ring<T> {
  T pop() noexcept {
    T item(std::move(this->items_.front()));
    this->items_.pop_front();
    return item;
  }
};

template <class T>
struct newest_first : ring<T> {
  T pop() noexcept {
    T item(std::move(this->items_.back()));
    this->items_.pop_back();
    return item;
  }
};

template <class T, class Less>
class least_first {
 public:
  explicit least_first(Less less = {}) : more_{std::move(less)} {}
  std::size_t size() const noexcept { return items_.size(); }
  void make_room() {
    if (items_.size() == items_.capacity()) items_.reserve(std::max<std::size_t>(8, 2 * items_.capacity()));
  }
  void push(T&& item) {
    items_.push_back(std::move(item));
    std::push_heap(items_.begin(), items_.end(), more_);
  }
  T pop() {
    std::pop_heap(items_.begin(), items_.end(), more_);
    T item(std::move(items_.back()));
    items_.pop_back();
    return item;
  }
  void clear() noexcept { items_.clear(); }

 private:
  struct more {
    Less less;
    bool operator()(T const& a, T const& b) { return less(b, a); }
  };
  more more_;
  std::vector<T, allocator<T>> items_;
};

template <class T>
concept queue_item =
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T> && std::is_object_v<T>;

// What of a queue does not depend on its items: who waits for items to be done, and shutting down.
class queue_state {
 public:
  /// Says that an item which was taken is done. Throws std::invalid_argument if there is none. Does not suspend. Any
  /// thread.
  void task_done();

  /// Waits until all items that were ever put are done: as many task_done() as put(). Suspends.
  void join(boost::source_location const& place = BOOST_CURRENT_LOCATION);

 protected:
  queue_state() = default;
  ~queue_state() = default;

  /// So many items are done, or were dropped. Under lock; the list gets those who are to be woken.
  void done(std::size_t items, wait_list& joined) noexcept;

  mutable spinlock lock_;       // guards all of a queue
  bool shut_down_ = false;      // nothing comes in any more
  std::size_t unfinished_ = 0;  // put, and not done
  wait_list joiners_;
};

class get_any_access;

template <queue_item T, class Order>
class basic_queue : public queue_state {
 public:
  using value_type = T;

  explicit basic_queue(std::size_t capacity = unbounded, Order order = {})
      : capacity_(capacity), items_(std::move(order)) {}
  basic_queue(basic_queue const&) = delete;
  basic_queue& operator=(basic_queue const&) = delete;

  /// Puts an item in; waits while the queue is full.
  ///
  /// May suspend; cancellation point, also of a queue that is unbounded or has room: if cancelled, `item` is as it was.
  /// To give an item back in a handler or a destructor use try_put(), which is no cancellation point and cannot fail on
  /// an unbounded queue (save for want of memory) unless that is shut down. Throws queue_shut_down.
  void put(T&& item, boost::source_location const& place = BOOST_CURRENT_LOCATION);
  void put(T const& item,
           boost::source_location const& place = BOOST_CURRENT_LOCATION) requires std::copy_constructible<T> {
    put(T(item), place);
  }

  /// Takes an item out; waits while there is none. Suspends. When cancelled, none is taken. Throws queue_shut_down once
  /// it is shut down and empty.
  T get(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Puts an item in if the queue has room, or a task waits for one; else returns false, and `item` is as it was.
  ///
  /// Does not suspend, and is no cancellation point. Thread-safe. Throws queue_shut_down.
  bool try_put(T&& item);
  bool try_put(T const& item) requires std::copy_constructible<T> { return try_put(T(item)); }

  /// An item if there is one. Throws queue_shut_down once it is shut down and empty. Does not suspend. Any thread.
  std::optional<T> try_get();

  /// The same as errors: throw queue_full and queue_empty.
  void put_nowait(T item) {
    if (!try_put(std::move(item))) throw queue_full();
  }
  T get_nowait() {
    auto item = try_get();
    if (!item.has_value()) throw queue_empty();
    return std::move(*item);
  }

  /// Nothing goes in any more: put() throws queue_shut_down, also those that wait. Items that lie in it can still be
  /// taken; after the last, and where somebody waits for one, get() throws queue_shut_down. `immediate` drops the
  /// items, which then count as done. Does not suspend. Any thread.
  void shutdown(bool immediate = false);

  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }
  /// Would put() wait? (With a capacity of 0, always.)
  bool full() const noexcept { return size() >= capacity_; }

  /// The items, until it is shut down and empty. Its increment suspends, as get().
  class iterator;
  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class get_any_access;

  struct getter : wait_entry {
    using wait_entry::wait_entry;
    std::optional<T> item = {};  // empty when woken: shut down
  };
  struct putter : wait_entry {
    putter(waiter& w, T& what) noexcept : wait_entry(w), item(what) {}
    T& item;
    bool refused = false;
  };

  // Each takes the lock and may give it up to wake somebody. False, with the lock held: it would have to wait.
  bool put_now(std::unique_lock<spinlock>& guard, T& item);
  bool get_now(std::unique_lock<spinlock>& guard, std::optional<T>& item);
  void check_open() const {
    if (shut_down_) throw queue_shut_down();
  }

  std::size_t const capacity_;
  Order items_;
  wait_list getters_;
  wait_list putters_;
};

}  // namespace detail

/// The oldest item first.
template <class T>
class queue : public detail::basic_queue<T, detail::oldest_first<T>> {
 public:
  explicit queue(std::size_t capacity = unbounded) : detail::basic_queue<T, detail::oldest_first<T>>(capacity) {}
};

/// The newest item first.
template <class T>
class lifo_queue : public detail::basic_queue<T, detail::newest_first<T>> {
 public:
  explicit lifo_queue(std::size_t capacity = unbounded) : detail::basic_queue<T, detail::newest_first<T>>(capacity) {}
};

/// The least item first; equal ones in any order. `Less` must not throw.
template <class T, class Less = std::less<T>>
class priority_queue : public detail::basic_queue<T, detail::least_first<T, Less>> {
 public:
  explicit priority_queue(std::size_t capacity = unbounded, Less less = {})
      : detail::basic_queue<T, detail::least_first<T, Less>>(capacity, detail::least_first<T, Less>(std::move(less))) {}
};

// --- implementation ---

namespace detail {

template <queue_item T, class Order>
bool basic_queue<T, Order>::put_now(std::unique_lock<spinlock>& guard, T& item) {
  check_open();
  if (auto* const first = static_cast<getter*>(getters_.claim_first())) {
    ++unfinished_;
    first->item.emplace(std::move(item));
    guard.unlock();
    wake(*first);
    return true;
  }
  if (items_.size() >= capacity_) return false;
  items_.make_room();
  items_.push(std::move(item));
  ++unfinished_;
  return true;
}

template <queue_item T, class Order>
bool basic_queue<T, Order>::get_now(std::unique_lock<spinlock>& guard, std::optional<T>& item) {
  bool const had_one = items_.size() > 0;
  if (had_one) item.emplace(items_.pop());
  // Now there is room for what the first putter brings, or, with no capacity at all, it is for us.
  auto* const first = had_one || capacity_ == 0 ? static_cast<putter*>(putters_.claim_first()) : nullptr;
  if (first != nullptr) {
    ++unfinished_;
    if (had_one) {
      items_.push(std::move(first->item));
    } else {
      item.emplace(std::move(first->item));
    }
    guard.unlock();
    wake(*first);
    return true;
  }
  if (!had_one) check_open();
  return had_one;
}

template <queue_item T, class Order>
void basic_queue<T, Order>::put(T&& item, boost::source_location const& place) {
  auto& self = enter(place);
  std::unique_lock guard(lock_);
  if (put_now(guard, item)) return;
  waiter w(self, place);
  putter mine(w, item);
  putters_.wait(guard, mine);
  if (mine.refused) throw queue_shut_down();
}

template <queue_item T, class Order>
T basic_queue<T, Order>::get(boost::source_location const& place) {
  auto& self = enter(place);
  std::unique_lock guard(lock_);
  std::optional<T> item;
  if (get_now(guard, item)) return std::move(*item);
  waiter w(self, place);
  getter mine(w);
  getters_.wait(guard, mine);
  if (!mine.item.has_value()) throw queue_shut_down();
  return std::move(*mine.item);
}

template <queue_item T, class Order>
bool basic_queue<T, Order>::try_put(T&& item) {
  std::unique_lock guard(lock_);
  return put_now(guard, item);
}

template <queue_item T, class Order>
std::optional<T> basic_queue<T, Order>::try_get() {
  std::unique_lock guard(lock_);
  std::optional<T> item;
  get_now(guard, item);
  return item;
}

template <queue_item T, class Order>
void basic_queue<T, Order>::shutdown(bool immediate) {
  std::optional<Order> dropped;  // goes without the lock: who knows what items do then
  wait_list woken;
  {
    std::unique_lock guard(lock_);
    shut_down_ = true;
    if (immediate) {
      done(items_.size(), woken);
      dropped.emplace(std::move(items_));
      items_.clear();
    }
    while (auto* const refused = static_cast<putter*>(putters_.claim_first())) {
      refused->refused = true;
      woken.push(*refused);
    }
    getters_.claim_all_into(woken);  // if anybody waits there are no items
  }
  woken.wake_all();
}

template <queue_item T, class Order>
std::size_t basic_queue<T, Order>::size() const noexcept {
  std::scoped_lock const guard(lock_);
  return items_.size();
}

template <queue_item T, class Order>
class basic_queue<T, Order>::iterator {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;

  iterator() = default;
  explicit iterator(basic_queue& from) : queue_(&from) { ++*this; }
  T&& operator*() const noexcept { return std::move(*item_); }
  iterator& operator++() {
    try {
      item_.reset();
      item_.emplace(queue_->get());
    } catch (queue_shut_down const&) {
      queue_ = nullptr;
    }
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(iterator const& i, std::default_sentinel_t) noexcept { return i.queue_ == nullptr; }

 private:
  basic_queue* queue_ = nullptr;
  mutable std::optional<T> item_;
};

}  // namespace detail

}  // namespace fibers
