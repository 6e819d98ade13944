// SPDX-License-Identifier: BSL-1.0
#pragma once

// A completion token: turns an asynchronous operation of Boost.Asio, or of a library built on it, into a call that
// suspends the task.
//
//   std::size_t const size = socket.async_read_some(buffer, fibers::use_fiber);
//   boost::system::error_code error;
//   socket.async_connect(endpoint, fibers::use_fiber[error]);
//
// The result has the arguments of the operation's handler: nothing, a value, or a std::tuple of several. A leading
// error_code or exception_ptr is thrown, an error_code as boost::system::system_error, or it is assigned to the
// error_code in brackets. Asio's as_tuple and redirect_error work too.
//
// Each call suspends and is a cancellation point. A pending cancellation is delivered before the operation begins. If
// one arrives during the operation, the operation is asked to abort, and the call waits for its end, since the
// operation uses memory of the task. If the operation has completed nevertheless, its result is returned and the
// cancellation stays pending: no byte and no connection is lost. If it was aborted, cancelled_error is thrown, and
// transferred() says how many bytes were transferred. (If the error is not the first argument, as under redirect_error,
// prepend, or in a parallel group, an abort cannot be recognized: the result is returned, and the cancellation stays
// pending.) Operations that Asio cannot cancel are waited for. The others are asked until they end, since a composed
// operation may miss a request between two parts. A coroutine that is cancelled in co_spawn(…, use_fiber) therefore
// cannot wait undisturbed in its clean-up.
//
// The I/O object may belong to io_context(), or to an execution context that other threads run. There the operation is
// aborted on its executor, which must be a strand if several threads run it, as Asio requires. An operation that does
// not name its executor (a parallel group, some of Beast's) counts as one of io_context(): if it is not, shield it from
// cancellation, as with with_shield(). Precondition: the I/O object is not destroyed or moved while a task waits for
// it; close() ends the wait. If no thread runs the I/O object's io_context, the task waits for ever. Within a task
// only.

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <fibers/asio/detail/asio_operation.hpp>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fibers {

/// The completion token with an error_code, as use_fiber[error] returns it.
struct use_fiber_with_error {
  boost::system::error_code* error;
};

/// The type of the completion token use_fiber.
struct use_fiber_t {
  constexpr use_fiber_t() = default;

  /// Assigns the error to the error_code instead of throwing it.
  use_fiber_with_error operator[](boost::system::error_code& error) const noexcept { return {&error}; }

  /// An executor whose I/O objects use this token by default: socket.async_read_some(buffer).
  template <class InnerExecutor>
  struct executor_with_default : InnerExecutor {
    using default_completion_token_type = use_fiber_t;

    executor_with_default(InnerExecutor const& executor) noexcept : InnerExecutor(executor) {}
    template <class Other>
    requires(!std::is_same_v<Other, executor_with_default> && std::is_convertible_v<Other const&, InnerExecutor>)
        executor_with_default(Other const& executor)
    noexcept : InnerExecutor(executor) {}
  };

  /// The type of I/O object with such an executor: use_fiber_t::as_default_on_t<tcp::socket>.
  template <class T>
  using as_default_on_t = typename T::template rebind_executor<executor_with_default<typename T::executor_type>>::other;
  template <class T>
  static as_default_on_t<std::decay_t<T>> as_default_on(T&& object) {
    return as_default_on_t<std::decay_t<T>>(std::forward<T>(object));
  }
};

inline constexpr use_fiber_t use_fiber{};

}  // namespace fibers

// The customization point of Asio's completion tokens.
namespace boost::asio {

template <class R, class... Arguments>
class async_result<fibers::use_fiber_t, R(Arguments...)> {
  using operation = fibers::detail::asio_operation<std::decay_t<Arguments>...>;

 public:
  using return_type = typename operation::value_type;

  template <class Initiation, class... Parameters>
  static return_type initiate(Initiation&& initiation, fibers::use_fiber_t, Parameters&&... parameters) {
    operation one;
    one.perform(std::forward<Initiation>(initiation), std::forward<Parameters>(parameters)...);
    return one.get(nullptr);
  }
};

template <class R, class... Arguments>
class async_result<fibers::use_fiber_with_error, R(Arguments...)> {
  using operation = fibers::detail::asio_operation<std::decay_t<Arguments>...>;

 public:
  using return_type = typename operation::value_type;

  template <class Initiation, class... Parameters>
  static return_type initiate(Initiation&& initiation, fibers::use_fiber_with_error token, Parameters&&... parameters) {
    operation one;
    one.perform(std::forward<Initiation>(initiation), std::forward<Parameters>(parameters)...);
    return one.get(token.error);
  }
};

}  // namespace boost::asio
