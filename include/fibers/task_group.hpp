// SPDX-License-Identifier: BSL-1.0
#pragma once

// Structured concurrency: a block that waits for the tasks it spawns.
//
//   fibers::with_task_group([&](fibers::task_group& group) {
//     for (auto const& url : urls) group.spawn([&] { fetch(url); });
//   });  // waits for all of them
//
// The group waits for every child, however the body ends. The first child that fails cancels its siblings and the body;
// the group throws all errors as one exception_group, in the order in which they occurred. A cancelled child is not an
// error. If the task is cancelled in the group, the group cancels its children, and throws cancelled_error once all
// have ended. If there are errors, the group throws those, and the next suspension point delivers the cancellation
// again.

#include <cxxabi.h>

#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list.hpp>
#include <exception>
#include <fibers/detail/engine/cancel_state.hpp>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/exception_group.hpp>
#include <fibers/task.hpp>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace fibers {

/// A group of child tasks, created by with_task_group(). For use by the body and the children, on the body's loop.
class task_group : private detail::task_parent {
 public:
  task_group(task_group const&) = delete;
  task_group& operator=(task_group const&) = delete;

  /// Spawns a child.
  ///
  /// Does not suspend. For the body and the children. In a group that was stopped by stop(), the child is cancelled
  /// before it begins. Throws the errors of fibers::spawn(), and invalid_state_error if the group is going down because
  /// the body or a child has failed or was cancelled.
  template <detail::body F>
  task_handle<detail::result_of<F>> spawn(F&& callable, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    return spawn(std::string_view(), std::forward<F>(callable), place);
  }
  template <detail::body F>
  task_handle<detail::result_of<F>> spawn(std::string_view name, F&& callable,
                                          boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto child = detail::make_task(std::forward<F>(callable));
    start(*child, name, place);
    return detail::task_access::make<task_handle<detail::result_of<F>>>(std::move(child));
  }
  template <class F, class... Arguments>
  requires detail::body_with_arguments<F, Arguments...>
  void spawn(F&&, Arguments&&...) {
    static_assert(detail::never<F>, "spawn() takes no arguments; capture them: group.spawn([=] { f(arguments); })");
  }
  template <class F, class... Arguments>
  requires detail::body_with_arguments<F, Arguments...>
  void spawn(std::string_view, F&&, Arguments&&...) {
    static_assert(detail::never<F>,
                  "spawn() takes no arguments; capture them: group.spawn(name, [=] { f(arguments); })");
  }

  /// Cancels the present children, also those that were cancelled before. The group continues. Does not suspend.
  void cancel_all(std::string_view message = {}, boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Ends the group early, without an error: cancels the children and the body.
  ///
  /// Does not suspend. A second call has no effect. with_task_group() then returns, unless a child fails or the task is
  /// cancelled from outside. If the body has no result, with_task_group() returns a default-constructed one, or throws
  /// invalid_state_error if the type has no default constructor.
  void stop(std::string_view message = {}, boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Returns the number of children that have not ended.
  std::size_t size() const;

 protected:
  task_group(cancel_origin::kind via, boost::source_location const& place);
  ~task_group() = default;

  /// Waits for all children, then throws the error of the group, if any. `failure` and `cancelled` are the exception of
  /// the body.
  void leave(std::exception_ptr failure, std::optional<cancelled_error> cancelled);

  /// Returns whether the children were cancelled. The group then refuses new ones, unless stop() cancelled them.
  bool going_down() const;

 private:
  using child_list = boost::intrusive::list<detail::task_state, boost::intrusive::base_hook<detail::child_hook>>;

  void start(detail::task_state& child, std::string_view name, boost::source_location const& place);
  void child_ended(detail::task_state& child) noexcept override;
  void abort(cancelled_error const& why) noexcept;
  void cancel_children(cancelled_error const& why) noexcept;
  void wait_for_children(bool cancellable);
  void wait_for_children(detail::waiter& w);
  bool is_own(cancelled_error const& request) const noexcept;
  bool is_again(std::exception_ptr const& error, detail::task_state& task) noexcept;

  detail::task_state& owner_;
  detail::cancel_scope scope_;
  std::uint32_t const deliveries_before_;  // of the owner's requests, when the group was entered
  cancel_origin::kind const via_;          // of the group's own requests
  boost::source_location const& place_;

  mutable detail::spinlock lock_;     // guards what follows
  child_list children_;               // not ended; the group shares their ownership
  child_list failed_;                 // in the order of failure; ownership is shared, too
  detail::waiter* waiter_ = nullptr;  // of the owner, while it waits for children_ to be empty
  bool aborting_ = false;             // the children were cancelled
  bool asked_owner_ = false;          // the owner was cancelled by the group
  bool stopped_ = false;
  bool quiet_ = false;           // stop() was the first to abort: new children are cancelled before they begin
  cancelled_error own_request_;  // of stop(); not changed once quiet_ is true
  bool closed_ = false;
  std::uint64_t round_ = 0;  // the number of the latest cancellation of all children
};

namespace detail {

// The interface for with_task_group().
class task_group_block final : public task_group {
 public:
  task_group_block(cancel_origin::kind via, boost::source_location const& place) : task_group(via, place) {}
  using task_group::going_down;
  using task_group::leave;
};

[[noreturn]] void throw_no_result();

template <class F>
concept group_body = std::is_invocable_v<F, task_group&>;

/// As with_task_group(). `via` is the kind of the group's own requests.
template <group_body F>
std::invoke_result_t<F, task_group&> run_in_group(F&& body, cancel_origin::kind via,
                                                  boost::source_location const& place) {
  using result_type = std::invoke_result_t<F, task_group&>;
  task_group_block group(via, place);
  result_slot<result_type> result;
  std::exception_ptr failure;
  std::optional<cancelled_error> cancelled;
  try {
    result.fill(std::forward<F>(body), static_cast<task_group&>(group));
  } catch (cancelled_error const& error) {
    cancelled = error;
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    failure = std::current_exception();
  }
  group.leave(std::move(failure), std::move(cancelled));
  if constexpr (std::is_void_v<result_type>) {
    return;
  } else if constexpr (std::is_default_constructible_v<result_type>) {
    return result.filled() ? result.move_out() : result_type();
  } else {
    if (!result.filled()) throw_no_result();
    return result.move_out();
  }
}

}  // namespace detail

/// Calls `body` with a new group, and waits for all children. Returns the body's result.
///
/// May suspend at its end; cancellation point there. Throws exception_group if the body or a child has failed,
/// cancelled_error if the task was cancelled.
template <detail::group_body F>
std::invoke_result_t<F, task_group&> with_task_group(F&& body,
                                                     boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::run_in_group(std::forward<F>(body), cancel_origin::kind::task_group, place);
}

}  // namespace fibers
