// SPDX-License-Identifier: BSL-1.0
#pragma once

// What must not be torn apart.
//
//   fibers::with_shield([&] { log.write(entry); log.sync(); });  // requests to cancel wait until this is done
//   fibers::with_shield(1s, [&] { connection.say_goodbye(); });  // the same, but not for ever
//   auto answer = fibers::shield(task);                          // may be cancelled; the task goes on
//
// Shield only what must not be torn apart: a shielded task cannot be stopped.

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

/// A frame of requests, from here to the end of the block: those from outside wait in the frames around it.
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

/// A clean-up failed where no exception may be thrown.
void report_failed_cleanup(std::exception_ptr const& error) noexcept;

}  // namespace detail

/// Calls `body`; requests to cancel that come from outside of it stay pending until it has returned, and are thrown at
/// the next suspension point after that. Timeouts and groups inside it work as ever. Returns what it returns. Does not
/// suspend by itself.
template <detail::body F>
detail::result_of<F> with_shield(F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::shield_block const block(place);
  return std::invoke(std::forward<F>(body));
}

/// The same with a limit of its own: throws timeout_error if that cuts the body short.
template <detail::timeout_body F>
detail::timeout_result<F> with_shield(time_limit limit, F&& body,
                                      boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::shield_block const block(place);
  return with_timeout(limit, std::forward<F>(body), place);
}

/// get() that passes nothing on: if the caller is cancelled, cancelled_error comes out at once, and the task goes on.
/// Suspends.
template <class T>
T shield(task<T>& task, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::get_shielded(task, place);
}
template <class T>
auto shield(task_handle<T> const& task, boost::source_location const& place = BOOST_CURRENT_LOCATION)
    -> decltype(task.get()) {
  return detail::get_shielded(task, place);
}

/// Spawns a task for `body` and waits for it like that. If the caller is cancelled, the task is left to its loop; if it
/// was before, no task is spawned.
template <detail::body F>
detail::result_of<F> shield(F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::enter(place);
  auto const task = spawn(std::forward<F>(body), place).detach();
  return shield(task, place);
}

/// Calls F at the end of the block, however that is left, shielded from requests to cancel: so F may suspend, also
/// while an exception unwinds the stack, and is carried out to its end. What F throws goes to the hook for unhandled
/// exceptions, since a destructor cannot throw. Outside of a task F is called as well; it must not suspend there.
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
