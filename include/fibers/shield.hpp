// SPDX-License-Identifier: BSL-1.0
#pragma once

// Protection from cancellation, in two kinds:
//
//   with_shield(body)   delays a cancellation of the caller until the body has returned
//   shield(task)        a cancellation of the caller ends its wait at once, and the task continues
//
//   fibers::with_shield([&] { log.write(entry); log.sync(); });  // a cancellation is delivered after this
//   fibers::with_shield(1s, [&] { connection.say_goodbye(); });  // the same, with a time limit
//   auto answer = fibers::shield(task);                          // may throw cancelled_error; the task continues
//
// Keep shielded bodies short: they cannot be cancelled.

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

/// Calls `body`, shielded from cancellation requests from outside. Returns the body's result.
///
/// Does not suspend by itself. The requests stay pending, and the first suspension point after the body delivers them.
/// Timeouts and groups inside the body work as usual.
template <detail::body F>
detail::result_of<F> with_shield(F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::shield_block const block(place);
  return std::invoke(std::forward<F>(body));
}

/// As with_shield(body), with a time limit. Throws timeout_error if the limit interrupts the body.
template <detail::timeout_body F>
detail::timeout_result<F> with_shield(time_limit limit, F&& body,
                                      boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::shield_block const block(place);
  return with_timeout(limit, std::forward<F>(body), place);
}

/// Waits for a task as get() does, but does not forward a cancellation of the caller.
///
/// May suspend; cancellation point: if the caller is cancelled, shield() throws cancelled_error at once, and the task
/// continues.
template <class T>
T shield(task<T>& task, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::get_shielded(task, place);
}
template <class T>
auto shield(task_handle<T> const& task, boost::source_location const& place = BOOST_CURRENT_LOCATION)
    -> decltype(task.get()) {
  return detail::get_shielded(task, place);
}

/// Spawns a task for `body`, and waits for it as shield(task) does.
///
/// May suspend; cancellation point: if a cancellation of the caller is pending, no task is spawned. If the caller is
/// cancelled later, the task outlives this call, at most until the end of run(). Precondition: the body does not refer
/// to local variables of the caller. Capture by value, or use with_shield().
template <detail::body F>
detail::result_of<F> shield(F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::enter(place);
  auto const task = spawn(std::forward<F>(body), place).detach();
  return shield(task, place);
}

/// Calls F at the end of the block, on every path, shielded from cancellation.
///
/// F may suspend, also during unwinding, and runs to its end. Outside of a task F is called too; functions that may
/// suspend throw invalid_state_error there. An exception of F goes to the hook for unhandled exceptions, since a
/// destructor cannot throw; outside of a task, it is printed to stderr.
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

  /// Destroys F without a call.
  void dismiss() noexcept { cleanup_.reset(); }

 private:
  std::optional<F> cleanup_;
  boost::source_location place_;
};

}  // namespace fibers
