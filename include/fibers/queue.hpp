// SPDX-License-Identifier: BSL-1.0
#pragma once

// Items from some tasks to others, each to exactly one.
//
//   fibers::queue<job> jobs(10);       // capacity 10; put() waits while it is full
//   jobs.put(job);                     // … and in another task:
//   for (auto job : jobs) work(job);   // until it is shut down and empty
//
// queue<T> gives the oldest item first, lifo_queue<T> the newest, priority_queue<T> the least. A capacity of 0 is a
// rendezvous: put() waits for a task that takes the item. Fair: FIFO among waiters. Thread-safe.
//
// Nothing is lost: a cancelled put() has not touched the item, a cancelled get() has taken none. At any time the items
// put are the items got and the items in the queue.
//
// Invariants, save for waiters that are being withdrawn: while a get() waits the queue is empty; while a put() waits it
// is full.

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
#include <fibers/unbounded.hpp>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace fibers {

namespace detail {

// --- the order of items ---

// Grows by doubling and keeps its memory, so that a queue that has grown allocates nothing.
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

// The part of a queue that does not depend on the type of its items.
class queue_state {
 public:
  /// Marks one item that was taken as done. Does not suspend. Throws std::invalid_argument if none is left to be done.
  void task_done();

  /// Returns once all items that were put are done: one task_done() for each put(). May suspend; cancellation point.
  void join(boost::source_location const& place = BOOST_CURRENT_LOCATION);

 protected:
  queue_state() = default;
  ~queue_state() = default;

  /// So many items are done or were dropped. Under the lock.
  void done(std::size_t items, owed_wakes& woken) noexcept;

  mutable spinlock lock_;       // guards all of a queue
  bool shut_down_ = false;      // no item comes in any more
  std::size_t unfinished_ = 0;  // put and not done
  wait_list<> joiners_{lock_};
};

template <class T>
struct getter : wait_entry {
  using wait_entry::wait_entry;
  std::optional<T> item = {};  // empty after a wake: the queue was shut down
};

template <class T>
struct putter : wait_entry {
  putter(waiter& w, T& what) noexcept : wait_entry(w), item(what) {}
  T& item;
  bool refused = false;
};

class get_any_access;

template <queue_item T, class Order>
class basic_queue : public queue_state {
 public:
  using value_type = T;

  explicit basic_queue(std::size_t capacity = unbounded, Order order = {})
      : capacity_(capacity), items_(std::move(order)) {}
  /// May be called once each call has returned or thrown in the tasks that use it, or is sure not to touch it any more:
  /// a woken wait does not. Waits that have not ended throw invalid_state_error. The items are destroyed.
  ~basic_queue() = default;
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

  /// Takes an item out; waits while there is none.
  ///
  /// May suspend; cancellation point. If cancelled, no item is taken. Throws queue_shut_down once the queue is shut
  /// down and empty.
  T get(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Puts an item in if the queue has room, or a task waits for one; else returns false, and `item` is as it was.
  ///
  /// Does not suspend, and is no cancellation point. Thread-safe. Throws queue_shut_down.
  bool try_put(T&& item);
  bool try_put(T const& item) requires std::copy_constructible<T> { return try_put(T(item)); }

  /// Takes an item out if there is one. Does not suspend. Throws queue_shut_down once the queue is shut down and empty.
  std::optional<T> try_get();

  /// As try_put(); throws queue_full, and leaves `item` as it was, instead of returning false.
  void put_nowait(T&& item) {
    if (!try_put(std::move(item))) throw queue_full();
  }
  void put_nowait(T const& item) requires std::copy_constructible<T> { put_nowait(T(item)); }
  /// As try_get(); throws queue_empty if there is no item.
  T get_nowait() {
    auto item = try_get();
    if (!item.has_value()) throw queue_empty();
    return std::move(*item);
  }

  /// Ends the queue: put() throws queue_shut_down, also in waiting tasks. The items in it can still be taken; after the
  /// last one, and in tasks that wait for one, get() throws queue_shut_down. `immediate` drops the items, which then
  /// count as done.
  ///
  /// Does not suspend.
  void shutdown(bool immediate = false);

  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }
  /// Would put() wait? With a capacity of 0, always.
  bool full() const noexcept { return size() >= capacity_; }

  /// The items, until the queue is shut down and empty. The increment is get().
  class iterator;
  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class get_any_access;

  // Under the lock. Return false if the caller would have to wait.
  [[gnu::always_inline]] bool put_now(owed_wakes& woken, T& item);
  [[gnu::always_inline]] bool get_now(owed_wakes& woken, std::optional<T>& item);
  void check_open() const {
    if (shut_down_) throw queue_shut_down();
  }

  std::size_t const capacity_;
  Order items_;
  wait_list<getter<T>> getters_{lock_};
  wait_list<putter<T>> putters_{lock_};
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
inline bool basic_queue<T, Order>::put_now(owed_wakes& woken, T& item) {
  check_open();
  if (auto* const first = getters_.notify_first(woken)) {
    ++unfinished_;
    first->item.emplace(std::move(item));
    return true;
  }
  if (items_.size() >= capacity_) return false;
  items_.make_room();
  items_.push(std::move(item));
  ++unfinished_;
  return true;
}

template <queue_item T, class Order>
inline bool basic_queue<T, Order>::get_now(owed_wakes& woken, std::optional<T>& item) {
  bool const had_one = items_.size() > 0;
  if (had_one) item.emplace(items_.pop());
  // Now there is room for the item of the first put() that waits; with no capacity at all, that item is for the caller.
  auto* const first = had_one || capacity_ == 0 ? putters_.notify_first(woken) : nullptr;
  if (first != nullptr) {
    ++unfinished_;
    if (had_one) {
      items_.push(std::move(first->item));
    } else {
      item.emplace(std::move(first->item));
    }
    return true;
  }
  if (!had_one) check_open();
  return had_one;
}

template <queue_item T, class Order>
void basic_queue<T, Order>::put(T&& item, boost::source_location const& place) {
  auto& self = enter(place);
  std::unique_lock guard(lock_);
  if (owed_wakes woken; put_now(woken, item)) return guard.unlock();
  simple_waiter<putter<T>> w(self, place, putters_, item);
  w.wait(guard);
  if (w.refused) throw queue_shut_down();
}

template <queue_item T, class Order>
T basic_queue<T, Order>::get(boost::source_location const& place) {
  auto& self = enter(place);
  std::unique_lock guard(lock_);
  std::optional<T> item;
  if (owed_wakes woken; get_now(woken, item)) {
    guard.unlock();
    return std::move(*item);
  }
  simple_waiter<getter<T>> w(self, place, getters_);
  w.wait(guard);
  if (!w.item.has_value()) throw queue_shut_down();
  return std::move(*w.item);
}

template <queue_item T, class Order>
bool basic_queue<T, Order>::try_put(T&& item) {
  owed_wakes woken;
  std::scoped_lock const guard(lock_);
  return put_now(woken, item);
}

template <queue_item T, class Order>
std::optional<T> basic_queue<T, Order>::try_get() {
  std::optional<T> item;
  owed_wakes woken;
  std::scoped_lock const guard(lock_);
  get_now(woken, item);
  return item;
}

template <queue_item T, class Order>
void basic_queue<T, Order>::shutdown(bool immediate) {
  std::optional<Order> dropped;  // destroyed without the lock: destructors of items are unknown code
  owed_wakes woken;
  std::scoped_lock const guard(lock_);
  shut_down_ = true;
  if (immediate) {
    done(items_.size(), woken);
    dropped.emplace(std::move(items_));
    items_.clear();
  }
  putters_.notify_all(woken, [](putter<T>& p) { p.refused = true; });
  getters_.notify_all(woken);  // while a get() waits there are no items
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
