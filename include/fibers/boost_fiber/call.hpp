// SPDX-License-Identifier: BSL-1.0
#pragma once

// Tasks call functions that suspend a Boost fiber.

#include <cxxabi.h>

#include <boost/assert/source_location.hpp>
#include <concepts>
#include <exception>
#include <fibers/boost_fiber/host.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace fibers {

namespace detail {

template <class F>
struct boost_call_result : std::invoke_result<F> {};
template <std::invocable<std::stop_token> F>
struct boost_call_result<F> : std::invoke_result<F, std::stop_token> {};

/// One call of call(), on the stack of the waiting task.
template <class F>
class boost_call final : waiter {
 public:
  using result = typename boost_call_result<F>::type;

  boost_call(task_state& task, boost::source_location const& place, F& callable) noexcept
      : waiter(task, place), callable_(callable) {}

  result wait() {
    boost_host::here(place());
    boost_host::start_guarded([this] { run(); });
    outside_wait const outside(task());
    static_cast<void>(suspend(*this));  // notified: no other party may claim it
    if (error_ != nullptr) std::rethrow_exception(std::move(error_));
    return result_.move_out();
  }

 private:
  answer on_cancel() noexcept override {
    stop_.request_stop();
    return answer::told;
  }

  void run() {
    try {
      if constexpr (std::invocable<F, std::stop_token>) {
        result_.fill(std::move(callable_), stop_.get_token());
      } else {
        result_.fill(std::move(callable_));
      }
    } catch (abi::__forced_unwind&) {
      throw;
    } catch (...) {
      error_ = std::current_exception();
    }
    if (try_claim(claim::notified)) wake(*this);
  }

  F& callable_;
  std::stop_source stop_;
  result_slot<result> result_;
  std::exception_ptr error_;
};

}  // namespace detail

namespace boost_fiber {

/// Calls `f` on a Boost fiber of this thread, and waits for its end. Returns its result, or throws its exception.
///
/// For functions of Boost.Fiber that suspend their caller, such as a lock, a barrier or a sleep: a task that calls one
/// itself blocks all tasks of its loop. Suspends; cancellation point only before the call, since a wait of Boost.Fiber
/// cannot be withdrawn: if the task is cancelled during the call, it waits for `f` and gets the result, and the
/// cancellation stays pending. `f` may take a std::stop_token, which the cancellation stops. Precondition: `f` unlocks
/// the mutexes that it locks.
template <class F>
requires(std::invocable<std::decay_t<F>> || std::invocable<std::decay_t<F>, std::stop_token>) auto call(
    F&& f, boost::source_location const& place = BOOST_CURRENT_LOCATION) ->
    typename fibers::detail::boost_call_result<std::decay_t<F>>::type {
  auto& self = fibers::detail::enter(place);
  fibers::detail::check_callable(f);
  std::decay_t<F> callable(std::forward<F>(f));
  return fibers::detail::boost_call<std::decay_t<F>>(self, place, callable).wait();
}

}  // namespace boost_fiber

}  // namespace fibers
