// SPDX-License-Identifier: BSL-1.0
#pragma once

// A variable with one value per task. A task inherits its spawner's values at the time of the spawn; later changes of
// either task do not affect the other.
//
//   fibers::task_local<std::string> request_id;
//   request_id.set("r-17");
//   auto task = fibers::spawn([] { log(request_id.get()); });  // r-17
//
// Values are copy-on-write, so the cost of a spawn does not depend on their number. Complexity, for n variables that
// have a value in a task: get() is O(log n), and so is set(), except that the first set() of a variable, or of a task
// that shares its values with others, is O(n).

#include <boost/assert/source_location.hpp>
#include <cstdint>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <functional>
#include <memory>
#include <utility>

namespace fibers {

namespace detail {
/// Identifies one variable. Keys are never reused, since a task may keep a value longer than the variable lives.
using local_key = std::uint64_t;
local_key new_local_key() noexcept;
/// Returns the running task's value of this variable; null if the task has none.
void* find_local(local_key variable, boost::source_location const& place);
/// Sets the value; null removes it. Strong exception guarantee.
void set_local(local_key variable, std::shared_ptr<void> value, boost::source_location const& place);
std::shared_ptr<void> share_local(local_key variable, boost::source_location const& place);
}  // namespace detail

/// A variable with one value per task.
///
/// No function suspends. Thread-safe. Functions throw invalid_state_error outside of a task. Precondition: the variable
/// outlives its use by tasks.
template <class T>
class task_local {
 public:
  task_local() = default;
  explicit task_local(T initial) : initial_(std::move(initial)) {}
  task_local(task_local const&) = delete;
  task_local& operator=(task_local const&) = delete;

  /// Returns this task's value; the initial one if the task has neither set nor inherited a value.
  T const& get(boost::source_location const& place = BOOST_CURRENT_LOCATION) const {
    auto const* const value = static_cast<T const*>(detail::find_local(key_, place));
    return value != nullptr ? *value : initial_;
  }
  T const& operator*() const { return get(); }
  T const* operator->() const { return &get(); }

  /// Sets the value for this task and the tasks that it spawns later. References from get() to the old value become
  /// invalid.
  void set(T value, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    detail::set_local(key_, std::allocate_shared<T>(detail::allocator<T>(), std::move(value)), place);
  }

  /// Calls `body` with another value, and restores the old value however the body ends. Returns the body's result.
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
