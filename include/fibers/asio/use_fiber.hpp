// SPDX-License-Identifier: BSL-1.0
#pragma once

// Any asynchronous operation of Boost.Asio, or of a library built on it, as a call that waits for it.
//
//   std::size_t const size = socket.async_read_some(buffer, fibers::use_fiber);
//   boost::system::error_code error;
//   socket.async_connect(endpoint, fibers::use_fiber[error]);
//
// The result is what the operation's handler would be given: nothing, a value, or a std::tuple of several. An
// error_code or exception_ptr that comes first is thrown, an error_code as boost::system::system_error; or it goes into
// the error_code in brackets. Asio's as_tuple and redirect_error work too.
//
// Each is a suspension point. A request to cancel that is pending is thrown before the operation begins. One that comes
// while it is under way tells the operation to end, and then waits for that, since the operation works with memory of
// the task. If it was completed all the same, its result is returned, and the request stays pending: so no byte and no
// connection is lost. If it was aborted, cancelled_error is thrown, and transferred() says how many bytes it had moved.
// (Where the error does not come first, as under redirect_error, prepend, or in the results of a parallel group, an
// abort cannot be told apart: what the operation gave is returned, and the request stays pending.) Operations that Asio
// cannot cancel are waited for. Others are told until they end, since composed ones may not hear it in a gap between
// two parts; so a coroutine that is cancelled in co_spawn(…, use_fiber) cannot wait undisturbed to clean up.
//
// The I/O object may belong to io_context(), or to anything that other threads run; there it is ended on its executor,
// which must be a strand where several threads run it, as Asio demands. An operation that does not name its executor
// (a parallel group, some of Beast's) is taken for one of io_context(): if it is not, do not let it be cancelled, as
// under with_shield(). Do not destroy or move an I/O object while a task waits for it: close() it, and the wait ends.
// If nobody runs the I/O object's io_context, the task waits for ever. Within a task only.

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

/// The completion token with an error_code: see use_fiber.
struct use_fiber_with_error {
  boost::system::error_code* error;
};

/// The completion token: see above.
struct use_fiber_t {
  constexpr use_fiber_t() = default;

  /// The error goes there, and is not thrown.
  use_fiber_with_error operator[](boost::system::error_code& error) const noexcept { return {&error}; }

  /// An executor whose I/O objects wait in this way if no token is given: socket.async_read_some(buffer).
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

// How Asio asks a completion token what to do.
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
