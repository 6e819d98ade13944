// SPDX-License-Identifier: BSL-1.0
#pragma once

// Time limits around blocks of code.
//
//   auto page = fibers::with_timeout(2s, [&] { return fetch(url); });      // timeout_error if it takes longer
//   auto perhaps = fibers::move_on_after(2s, [&] { return fetch(url); });  // an empty optional then
//
// When the limit passes, the task is cancelled, once: its wait in the block is withdrawn and throws cancelled_error,
// the clean-up runs, and at the end of the block the cancelled_error becomes a timeout_error. If the task was cancelled
// from outside of the block too, that wins: the cancelled_error leaves the block. A result or another error leaves the
// block unchanged.
//
// An interrupted operation of Asio may have transferred some bytes: timeout_error::transferred() returns their number.
// With move_on_after(), handlers and destructors in the body call timeout_scope::transferred(), and
// add_transferred_to() names a variable that receives the number.
//
// Entering and leaving a block does not suspend. All functions are for the running task.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/cancel_state.hpp>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/detail/parts/timer.hpp>
#include <fibers/error.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace fibers {

/// The block as an object, for a body that takes it by reference: with_timeout(2s, [](timeout_scope& scope) { … }).
class timeout_scope : private detail::timer {
 public:
  /// Changes the deadline: earlier, later, or no_timeout.
  ///
  /// Does not suspend. A deadline that has passed takes effect at the task's next suspension. Throws
  /// invalid_state_error once the block has expired.
  void reschedule(time_point deadline);
  void reschedule_after(time_limit from_now);

  /// Returns the deadline; no_timeout, which is time_point::max(), if there is none.
  time_point when() const noexcept { return deadline_; }

  /// Returns whether the deadline has passed in the block, with or without effect.
  bool expired() const noexcept { return expired_; }

  /// Returns the number of bytes that the interrupted operation had transferred; 0 before the deadline interrupts one.
  std::size_t transferred() const noexcept { return scope_.transferred; }

  /// If the deadline interrupts the block, adds the number of bytes that the interrupted operation had transferred to
  /// `count`. Precondition: `count` outlives the block.
  void add_transferred_to(std::size_t& count) noexcept { transferred_to_ = &count; }

 protected:
  timeout_scope(time_point deadline, duration limit, boost::source_location const& place);
  timeout_scope(timeout_scope const&) = delete;
  timeout_scope& operator=(timeout_scope const&) = delete;
  ~timeout_scope() { leave(); }

  /// Disarms the timer and withdraws the block's own request. Returns whether a cancelled_error that leaves the block
  /// now was caused by the deadline.
  bool leave() noexcept;
  /// Records a cancelled_error that the deadline has caused.
  void cut_short(cancelled_error const& by) noexcept {
    scope_.transferred = by.transferred();  // also of an operation in another task, for which this one waited
    if (transferred_to_ != nullptr) *transferred_to_ += scope_.transferred;
  }
  [[noreturn]] void throw_timeout() const;

 private:
  void arm(time_point deadline, duration limit);
  static void expire(timer& due) noexcept;

  detail::task_state& task_;
  detail::byte_counting_scope scope_;
  bool left_ = false;
  bool expired_ = false;
  time_point deadline_;
  duration limit_;  // the time to the deadline when it was set
  boost::source_location const& place_;
  std::optional<boost::source_location> waited_at_;  // where the task was suspended when the block expired
  std::size_t* transferred_to_ = nullptr;
};

namespace detail {

// The interface for the functions below.
class timeout_block final : public timeout_scope {
 public:
  timeout_block(time_point deadline, duration limit, boost::source_location const& place)
      : timeout_scope(deadline, limit, place) {}

  template <class F>
  decltype(auto) call(F& body) {
    if constexpr (std::is_invocable_v<F, timeout_scope&>) {
      return std::invoke(std::forward<F>(body), static_cast<timeout_scope&>(*this));
    } else {
      return std::invoke(std::forward<F>(body));
    }
  }

  using timeout_scope::cut_short;
  using timeout_scope::leave;
  using timeout_scope::throw_timeout;
};

template <class F>
using timeout_result = decltype(std::declval<timeout_block&>().call<F>(std::declval<F&>()));

template <class F>
concept timeout_body = std::is_invocable_v<F> || std::is_invocable_v<F, timeout_scope&>;

// The result type of move_on_after().
template <class R>
struct perhaps {
  using type = std::optional<R>;
};
template <class R>
struct perhaps<R&> {
  using type = std::optional<std::reference_wrapper<R>>;
};
template <>
struct perhaps<void> {
  using type = bool;
};

template <class F>
timeout_result<F> call_with_timeout(time_point deadline, duration limit, F& body, boost::source_location const& place) {
  timeout_block block(deadline, limit, place);
  try {
    return block.call<F>(body);
  } catch (cancelled_error const& error) {
    if (!block.leave()) throw;
    block.cut_short(error);
  }
  block.throw_timeout();  // not inside the handler: the cancellation is over
}

template <class F>
auto call_and_move_on(time_point deadline, duration limit, F& body, boost::source_location const& place) ->
    typename perhaps<timeout_result<F>>::type {
  timeout_block block(deadline, limit, place);
  try {
    if constexpr (std::is_void_v<timeout_result<F>>) {
      block.call<F>(body);
      return true;
    } else {
      return block.call<F>(body);
    }
  } catch (cancelled_error const& error) {
    if (!block.leave()) throw;
    block.cut_short(error);
  }
  return {};
}

}  // namespace detail

/// Calls `body` with a deadline. Returns the body's result.
///
/// Does not suspend by itself. A deadline that has already passed interrupts the first wait. Throws timeout_error if
/// the deadline has interrupted the body; the text names the limit and the call site of the wait.
template <detail::timeout_body F>
detail::timeout_result<F> with_timeout_at(time_point deadline, F&& body,
                                          boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::call_with_timeout<F>(deadline, detail::time_until(deadline), body, place);
}

/// As with_timeout_at(), with a limit from now; no_timeout sets none.
template <detail::timeout_body F>
detail::timeout_result<F> with_timeout(time_limit limit, F&& body,
                                       boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::call_with_timeout<F>(limit.from_now(), limit.length(), body, place);
}

/// Calls `body` with a deadline. Returns an optional, which is empty if the deadline has interrupted the body.
///
/// As with_timeout_at(), but without timeout_error. For a body that returns void, returns a bool: false if interrupted.
template <detail::timeout_body F>
auto move_on_at(time_point deadline, F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) ->
    typename detail::perhaps<detail::timeout_result<F>>::type {
  return detail::call_and_move_on<F>(deadline, detail::time_until(deadline), body, place);
}

/// As move_on_at(), with a limit from now; no_timeout sets none.
template <detail::timeout_body F>
auto move_on_after(time_limit limit, F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) ->
    typename detail::perhaps<detail::timeout_result<F>>::type {
  return detail::call_and_move_on<F>(limit.from_now(), limit.length(), body, place);
}

/// Calls `body` with a limit, as asyncio's wait_for() does; prefer with_timeout().
///
/// The only difference: with a limit of zero or less, wait_for() does not call the body, yields, and throws
/// timeout_error.
template <detail::body F>
detail::result_of<F> wait_for(F&& body, time_limit limit,
                              boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (limit.length() <= duration::zero()) {
    this_task::yield(place);
    throw timeout_error("timed out: there was no time at all");
  }
  return with_timeout(limit, std::forward<F>(body), place);
}

namespace detail {
/// For a limit that has passed: cancels a task that has not ended, and waits for it. Returns whether that request has
/// ended the task.
bool end_now(task_state& task, boost::source_location const& place);

template <class Task>
auto wait_for_task(Task& task, time_limit limit, boost::source_location const& place) -> decltype(task.get()) {
  if (limit.length() <= duration::zero()) {
    auto const ending = task_access::checked(task);
    bool const ended_now = end_now(*ending, place);
    try {
      return task_access::fetch(task, *ending);
    } catch (cancelled_error const& cancelled) {
      if (!ended_now) throw;
      timeout_error error("timed out: there was no time at all");
      error.transferred(cancelled.transferred());
      throw error;
    }
  }
  return with_timeout(
      limit, [&]() -> decltype(task.get()) { return task.get(place); }, place);
}
}  // namespace detail

/// Calls get() with a time limit. When the limit passes, cancels the task and waits for its end.
///
/// May suspend; cancellation point: if the caller is cancelled, the request is forwarded to the task. With a limit of
/// zero or less, a task that has not ended is cancelled at once; that wait forwards nothing. Throws timeout_error if
/// the limit has passed and the task ends cancelled; otherwise returns the task's result or throws its exception.
template <class T>
T wait_for(task<T>& task, time_limit limit, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::wait_for_task(task, limit, place);
}
template <class T>
T wait_for(task<T>&& task, time_limit limit, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::wait_for_task(task, limit, place);
}
template <class T>
auto wait_for(task_handle<T> const& task, time_limit limit,
              boost::source_location const& place = BOOST_CURRENT_LOCATION) -> decltype(task.get()) {
  return detail::wait_for_task(task, limit, place);
}

}  // namespace fibers
