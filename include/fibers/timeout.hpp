// SPDX-License-Identifier: BSL-1.0
#pragma once

// Time limits around anything.
//
//   auto page = fibers::with_timeout(2s, [&] { return fetch(url); });      // timeout_error if it takes longer
//   auto perhaps = fibers::move_on_after(2s, [&] { return fetch(url); });  // an empty optional then
//
// When the limit passes, the task is cancelled, once: its wait in the block is withdrawn and throws cancelled_error,
// the clean-up runs, and at the end of the block the cancelled_error becomes a timeout_error. If the task was cancelled
// from outside of the block too, that wins: the cancelled_error leaves the block. A result or another error leaves the
// block unchanged.
//
// An operation of Asio that is interrupted may have transferred some bytes: timeout_error::transferred() says how many.
// With move_on_after(), handlers and destructors in the body call timeout_scope::transferred(), and
// add_transferred_to() names a variable that has the number afterwards.
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

/// The block itself, for a body that takes it by reference: with_timeout(2s, [](timeout_scope& scope) { … }).
class timeout_scope : private detail::timer {
 public:
  /// Changes the deadline: earlier, later, or no_timeout. A deadline that has passed takes effect at the task's next
  /// suspension. Throws invalid_state_error once the block has expired.
  void reschedule(time_point deadline);
  void reschedule_after(time_limit from_now);

  /// The deadline; no_timeout, which is time_point::max(), if there is none.
  time_point when() const noexcept { return deadline_; }

  /// Returns whether the deadline has passed in the block, whatever its effect.
  bool expired() const noexcept { return expired_; }

  /// Returns how many bytes the operation had transferred that the deadline has interrupted; 0 before that.
  std::size_t transferred() const noexcept { return scope_.transferred; }

  /// If the deadline interrupts the block, adds to `count` how many bytes the interrupted operation had transferred.
  /// Precondition: `count` outlives the block.
  void add_transferred_to(std::size_t& count) noexcept { transferred_to_ = &count; }

 protected:
  timeout_scope(time_point deadline, duration limit, boost::source_location const& place);
  timeout_scope(timeout_scope const&) = delete;
  timeout_scope& operator=(timeout_scope const&) = delete;
  ~timeout_scope() { leave(); }

  /// Disarms the timer and withdraws the block's own request. Returns whether a cancelled_error that leaves the block
  /// now was caused by the deadline.
  bool leave() noexcept;
  /// The deadline has caused the cancelled_error.
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
  duration limit_;  // how far away it was when it was set
  boost::source_location const& place_;
  std::optional<boost::source_location> waited_at_;  // where the task was suspended when the block expired
  std::size_t* transferred_to_ = nullptr;
};

namespace detail {

// The block as the functions below use it.
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

// What move_on_after() makes of a result.
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

/// Calls `body` with a deadline. Returns what the body returns.
///
/// Throws timeout_error if the deadline has interrupted the body; its text names the limit and the call site of the
/// wait. A deadline that has already passed interrupts the first wait.
template <detail::timeout_body F>
detail::timeout_result<F> with_timeout_at(time_point deadline, F&& body,
                                          boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::call_with_timeout<F>(deadline, detail::time_until(deadline), body, place);
}

/// The same with a limit from now on; no_timeout is none.
template <detail::timeout_body F>
detail::timeout_result<F> with_timeout(time_limit limit, F&& body,
                                       boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::call_with_timeout<F>(limit.from_now(), limit.length(), body, place);
}

/// As with_timeout_at(), but no error is thrown if the deadline interrupts the body: returns an optional, which is
/// empty then. For a body that returns nothing, returns a bool, which is false then.
template <detail::timeout_body F>
auto move_on_at(time_point deadline, F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) ->
    typename detail::perhaps<detail::timeout_result<F>>::type {
  return detail::call_and_move_on<F>(deadline, detail::time_until(deadline), body, place);
}

/// The same with a limit from now on; no_timeout is none.
template <detail::timeout_body F>
auto move_on_after(time_limit limit, F&& body, boost::source_location const& place = BOOST_CURRENT_LOCATION) ->
    typename detail::perhaps<detail::timeout_result<F>>::type {
  return detail::call_and_move_on<F>(limit.from_now(), limit.length(), body, place);
}

/// Calls `body` with a limit, as asyncio's wait_for() does; prefer with_timeout().
///
/// It differs in one case: with a limit of zero or less the body is not called; wait_for() yields and throws
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
/// For a limit that has passed: cancels a task that has not ended, and waits for it. Returns whether it ended cancelled
/// by that.
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

/// get() with a limit. When the limit passes, the task is cancelled and waited for: throws timeout_error if the task
/// ends cancelled, otherwise returns its result or throws its error.
///
/// May suspend; cancellation point: if the caller is cancelled, the request is forwarded to the task. With a limit of
/// zero or less, a task that has not ended is cancelled at once; that wait forwards nothing.
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
