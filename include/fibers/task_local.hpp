// SPDX-License-Identifier: BSL-1.0
#pragma once

// A variable of which every task has a value of its own. A task starts with the values that its spawner had at that
// moment; what either changes later, the other does not see.
//
//   fibers::task_local<std::string> request_id;
//   request_id.set("r-17");
//   auto task = fibers::spawn([] { log(request_id.get()); });  // r-17
//
// Values are shared until one changes, so spawning costs the same however many there are. For n variables that have a
// value in a task, get() costs O(log n); so does set(), save that the first set() of a task that shares its values with
// others copies n pointers.

#include <boost/assert/source_location.hpp>
#include <cstdint>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <functional>
#include <memory>
#include <utility>

namespace fibers {

namespace detail {
/// Stands for one variable, and is never used twice: tasks may keep a value longer than its variable lives.
using local_key = std::uint64_t;
local_key new_local_key() noexcept;
/// The running task's value for this variable; null if it has none.
void* find_local(local_key variable, boost::source_location const& place);
/// Null takes it away. Strong guarantee.
void set_local(local_key variable, std::shared_ptr<void> value, boost::source_location const& place);
std::shared_ptr<void> share_local(local_key variable, boost::source_location const& place);
}  // namespace detail

/// Needs a running task, else throws invalid_state_error. Nothing here suspends. The variable itself may be used by all
/// threads; it must live as long as tasks use it.
template <class T>
class task_local {
 public:
  task_local() = default;
  explicit task_local(T initial) : initial_(std::move(initial)) {}
  task_local(task_local const&) = delete;
  task_local& operator=(task_local const&) = delete;

  /// This task's value; the initial one if it neither set nor inherited any.
  T const& get(boost::source_location const& place = BOOST_CURRENT_LOCATION) const {
    auto const* const value = static_cast<T const*>(detail::find_local(key_, place));
    return value != nullptr ? *value : initial_;
  }
  T const& operator*() const { return get(); }
  T const* operator->() const { return &get(); }

  /// For this task and those it spawns from now on. References from get() to the old value end.
  void set(T value, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    detail::set_local(key_, std::allocate_shared<T>(detail::allocator<T>(), std::move(value)), place);
  }

  /// Calls `body` with another value, and puts the old one back however that ends. Returns what the body returns.
  template <class F>
  decltype(auto) with(T value, F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    struct restore {
      task_local& variable;
      std::shared_ptr<void> old;
      boost::source_location const& place;
      ~restore() { detail::set_local(variable.key_, std::move(old), place); }
    } const at_the_end{*this, detail::share_local(key_, place), place};
    set(std::move(value), place);
    return std::invoke(std::forward<F>(body));
  }

 private:
  detail::local_key const key_ = detail::new_local_key();
  T initial_{};
};

}  // namespace fibers
