// SPDX-License-Identifier: BSL-1.0
#pragma once

// A server: one task for each connection, in a group, until the server is cancelled.
//
//   tcp::acceptor acceptor(fibers::io_context(), {tcp::v4(), 8080});
//   fibers::race([&] { fibers::serve(acceptor, handle); }, [] { fibers::wait_for_signal({SIGINT, SIGTERM}); });
//
// Graceful shutdown: when serve() is cancelled or the acceptor is closed, serve() accepts no new connection. Present
// connections may finish within a grace period; then they are cancelled. A second cancellation ends the grace period.

#include <cxxabi.h>

#include <boost/asio/error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/assert/source_location.hpp>
#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <exception>
#include <fibers/asio/io_context.hpp>
#include <fibers/asio/use_fiber.hpp>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/this_loop.hpp>
#include <fibers/error.hpp>
#include <fibers/semaphore.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace fibers {

struct serve_options {
  /// The maximum number of concurrent connections, at least 1; others wait to be accepted. Each needs at least one file
  /// descriptor: see ulimit -n.
  semaphore::count max_connections = 10'000;

  /// The grace period for connections at the end of the server.
  time_limit grace = std::chrono::seconds(10);
};

namespace detail {

/// An error of the peer or the network: the next accept may succeed.
inline bool concerns_one_connection(boost::system::error_code const& error) noexcept {
  using namespace boost::system::errc;
  for (auto const kind :
       {connection_aborted, connection_reset, protocol_error, no_protocol_option, network_down, network_unreachable,
        host_unreachable, operation_not_supported, timed_out, operation_not_permitted}) {
    if (error == kind) return true;
  }
  return false;
}

/// An error that may be over once some connections have ended.
inline bool is_shortage(boost::system::error_code const& error) noexcept {
  using namespace boost::system::errc;
  for (auto const kind : {too_many_files_open, too_many_files_open_in_system, no_buffer_space, not_enough_memory}) {
    if (error == kind) return true;
  }
  return false;
}

/// The peer has closed the connection: an ordinary end.
inline bool is_end_of_connection(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (boost::system::system_error const& failure) {
    auto const code = failure.code();
    return code == boost::asio::error::eof || code == boost::system::errc::connection_reset ||
           code == boost::system::errc::broken_pipe;
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return false;
  }
}

/// Returns the next connection; none if the acceptor was closed.
template <class Acceptor>
auto accept_next(Acceptor& acceptor, boost::source_location const& place) {
  boost::system::error_code error;
  std::optional socket(acceptor.async_accept(use_fiber[error]));
  for (bool reported = false; error; socket.emplace(acceptor.async_accept(use_fiber[error]))) {
    if (error == boost::asio::error::operation_aborted || !acceptor.is_open()) {
      socket.reset();
      return socket;
    }
    if (concerns_one_connection(error)) continue;
    auto const failure = boost::system::system_error(error, "fibers: serve() accepts no connection");
    if (!is_shortage(error)) throw failure;
    if (!std::exchange(reported, true)) report_unhandled("serve()", std::make_exception_ptr(failure));
    sleep_for(std::chrono::milliseconds(100), place);
  }
  return socket;
}

template <class Handler, class Socket>
void serve_one(Handler& handler, Socket socket) {
  try {
    handler(std::move(socket));
  } catch (cancelled_error const&) {
    throw;
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    auto const error = std::current_exception();
    if (!is_end_of_connection(error)) report_unhandled("served by serve()", error);
  }
}

}  // namespace detail

/// Calls handler(socket) for each connection, in a task of its own. Returns when the acceptor was closed and all
/// connections have ended.
///
/// Suspends; cancellation point: closes the acceptor, waits for the connections within the grace period, and throws. An
/// error of a handler ends only its connection, and goes to the hook for unhandled exceptions, except the errors of a
/// closed connection (boost::asio::error::eof, connection_reset, broken_pipe). A shortage of descriptors or memory goes
/// to the hook, too, and the server continues. Throws boost::system::system_error if accepting fails for another
/// reason, once the present connections have ended; std::invalid_argument if max_connections is 0.
template <class Acceptor, class Handler>
void serve(Acceptor& acceptor, Handler&& handler, serve_options const& options = {},
           boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (options.max_connections == 0) {
    throw std::invalid_argument("fibers: serve_options::max_connections is 0, so no connection could ever come in (" +
                                detail::to_string(place) + ")");
  }
  semaphore slots(options.max_connections, options.max_connections);
  std::exception_ptr failure;
  with_task_group(
      [&](task_group& connections) {
        auto const end_gracefully = [&] {
          boost::system::error_code ignored;
          acceptor.close(ignored);
          auto const all_ended = [&] { slots.acquire(options.max_connections, place); };
          if (!move_on_after(options.grace, all_ended, place)) connections.cancel_all("serve() has ended", place);
        };
        try {
          for (;;) {
            slots.acquire(1, place);
            std::unique_lock slot(slots, std::adopt_lock);
            auto socket = detail::accept_next(acceptor, place);
            if (!socket.has_value()) break;
            connections.spawn(
                "connection",
                [&handler, slot = std::move(slot), socket = std::move(*socket)]() mutable {
                  detail::serve_one(handler, std::move(socket));
                },
                place);
          }
        } catch (cancelled_error const&) {
          end_gracefully();
          throw;
        } catch (abi::__forced_unwind&) {
          throw;
        } catch (...) {
          failure = std::current_exception();
        }
        end_gracefully();
      },
      place);
  if (failure != nullptr) std::rethrow_exception(failure);
}

/// Waits for the first of these signals, and returns its number.
///
/// Suspends; cancellation point. During the wait the signals have no other effect; afterwards their former effect is
/// restored. Precondition: the signals are not in run_options::cancel_on_signals.
inline int wait_for_signal(std::initializer_list<int> signals,
                           boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  boost::asio::signal_set awaited(io_context(place));
  for (int const signal : signals) awaited.add(signal);
  return awaited.async_wait(use_fiber);
}

}  // namespace fibers
