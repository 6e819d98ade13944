// SPDX-License-Identifier: BSL-1.0
#pragma once

// Protection from cancellation, in two kinds:
//
//   with_shield(body)   delays a cancellation of the caller until the body has returned
//   shield(task)        lets the caller be cancelled at once, while the task goes on
//
//   fibers::with_shield([&] { log.write(entry); log.sync(); });  // a cancellation is delivered after this
//   fibers::with_shield(1s, [&] { connection.say_goodbye(); });  // the same, with a time limit
//   auto answer = fibers::shield(task);                          // may throw cancelled_error; the task goes on
//
// Shield only what must not be interrupted: a shielded body cannot be cancelled.

#include <boost/assert/source_location.hpp>
#include <concepts>
#include <exception>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/cancel_state.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/task.hpp>
#include <fibers/timeout.hpp>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace fibers {

namespace detail {

/// A frame of cancellation requests, for the life of this object: requests from outside stay pending in outer frames.
class shield_block {
 public:
  explicit shield_block(boost::source_location const& place);
  ~shield_block();
  shield_block(shield_block const&) = delete;
  shield_block& operator=(shield_block const&) = delete;

 private:
  task_state& task_;
  cancel_frame frame_;
};

template <class Task>
auto get_shielded(Task& task, boost::source_location const& place) -> decltype(task.get()) {
  auto const awaited = task_access::checked(task);
  join(*awaited, pass_on::no, place);
  return task_access::fetch(task, *awaited);
}

/// Reports an error of a clean-up, where no exception may be thrown.
void report_failed_cleanup(std::exception_ptr const& error) noexcept;

}  // namespace detail

/// Calls `body` and returns what it returns. Cancellation requests from outside of it stay pending, and are delivered
/// at the first suspension point after it. Timeouts and groups inside of it work as usual.
///
/// Does not suspend by itself.
template <detail::body F>
detail::result_of<F> with_shield(F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::shield_block const block(place);
  return std::invoke(std::forward<F>(body));
}

/// The same with a time limit: throws timeout_error if the limit interrupts the body.
template <detail::timeout_body F>
detail::timeout_result<F> with_shield(time_limit limit, F&& body,
                                      boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::shield_block const block(place);
  return with_timeout(limit, std::forward<F>(body), place);
}

/// Waits for a task as get() does, but forwards nothing: if the caller is cancelled, shield() throws cancelled_error at
/// once, and the task goes on.
///
/// May suspend; cancellation point.
template <class T>
T shield(task<T>& task, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::get_shielded(task, place);
}
template <class T>
auto shield(task_handle<T> const& task, boost::source_location const& place = BOOST_CURRENT_LOCATION)
    -> decltype(task.get()) {
  return detail::get_shielded(task, place);
}

/// Spawns a task for `body` and waits for it in the same way. If a cancellation of the caller is pending, no task is
/// spawned.
///
/// Warning: if the caller is cancelled, the task outlives this call, until it ends or run() does. The body must not
/// refer to local variables of the caller: capture by value, or use with_shield().
template <detail::body F>
detail::result_of<F> shield(F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::enter(place);
  auto const task = spawn(std::forward<F>(body), place).detach();
  return shield(task, place);
}

/// Calls F at the end of the block, on every path, shielded from cancellation. F may suspend, also during unwinding,
/// and runs to its end. An exception of F goes to the hook for unhandled exceptions, since a destructor cannot throw.
/// Outside of a task F is called as well, and must not suspend there.
template <class F>
class [[nodiscard]] cleanup_guard {
 public:
  explicit cleanup_guard(F cleanup, boost::source_location const& place = BOOST_CURRENT_LOCATION)
      : cleanup_(std::move(cleanup)), place_(place) {}
  cleanup_guard(cleanup_guard const&) = delete;
  cleanup_guard& operator=(cleanup_guard const&) = delete;

  ~cleanup_guard() {
    if (!cleanup_.has_value()) return;
    try {
      std::optional<detail::shield_block> shield;
      if (detail::running_task() != nullptr) shield.emplace(place_);
      std::invoke(std::move(*cleanup_));
    } catch (...) {
      detail::report_failed_cleanup(std::current_exception());
    }
  }

  /// F is not called.
  void dismiss() noexcept { cleanup_.reset(); }

 private:
  std::optional<F> cleanup_;
  boost::source_location place_;
};

}  // namespace fibers
