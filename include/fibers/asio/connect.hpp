// SPDX-License-Identifier: BSL-1.0
#pragma once

// Connects to a host by name, at the address that answers first.
//
//   auto socket = fibers::connect("www.example.org", "https");
//
// A host may have many addresses, of which some do not answer. The next attempt begins when the previous one has failed
// or 250 ms have passed, with IPv6 and IPv4 in turns (RFC 8305). The first attempt that succeeds cancels the others.

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/assert/source_location.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <cstddef>
#include <fibers/asio/io_context.hpp>
#include <fibers/asio/use_fiber.hpp>
#include <fibers/clock.hpp>
#include <fibers/event.hpp>
#include <fibers/task_group.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fibers {

struct connect_options {
  /// The time after which the next attempt begins.
  time_limit attempt_delay = std::chrono::milliseconds(250);
};

/// Returns the addresses of a host in the order of the system's preference.
///
/// The service is a name such as "https", or a port. Suspends; cancellation point: the answer is dropped, but the
/// system's lookup cannot be aborted, and run() waits for its end. Throws boost::system::system_error.
inline std::vector<boost::asio::ip::tcp::endpoint> resolve(
    std::string_view host, std::string_view service, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  using boost::asio::ip::tcp;
  struct question {
    explicit question(boost::asio::io_context& context) : resolver(context) {}
    tcp::resolver resolver;
    event answered = {};
    boost::system::error_code error = {};
    std::vector<tcp::endpoint> endpoints = {};
  };
  auto const asked = std::make_shared<question>(io_context(place));  // the lookup may outlive this call
  asked->resolver.async_resolve(host, service, [asked](boost::system::error_code error, auto const& results) {
    asked->error = error;
    asked->endpoints.assign(results.begin(), results.end());
    asked->answered.set();
  });
  asked->answered.wait(place);
  if (asked->error) {
    throw boost::system::system_error(asked->error,
                                      "fibers: resolve " + std::string(host) + ":" + std::string(service));
  }
  return std::move(asked->endpoints);
}

namespace detail {

/// Returns the addresses of both families in turns, each family in its order.
inline std::vector<boost::asio::ip::tcp::endpoint> in_turns(std::vector<boost::asio::ip::tcp::endpoint> endpoints) {
  std::vector<boost::asio::ip::tcp::endpoint> family[2], mixed;
  for (auto& endpoint : endpoints)
    family[endpoint.protocol() == endpoints.front().protocol() ? 0 : 1].push_back(endpoint);
  for (std::size_t i = 0; mixed.size() < endpoints.size(); ++i) {
    for (auto const& one : family) {
      if (i < one.size()) mixed.push_back(one[i]);
    }
  }
  return mixed;
}

}  // namespace detail

/// Connects to the first of these addresses that accepts, in this order. The socket belongs to io_context().
///
/// May suspend; cancellation point: no connection is left open. Throws boost::system::system_error, with the error of
/// the last failed attempt, if none succeeds.
inline boost::asio::ip::tcp::socket connect(std::vector<boost::asio::ip::tcp::endpoint> const& endpoints,
                                            connect_options const& options = {},
                                            boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  std::optional<boost::asio::ip::tcp::socket> connected;
  boost::system::error_code error = boost::asio::error::host_not_found;
  std::optional<boost::asio::ip::tcp::endpoint> failed;
  with_task_group(
      [&](task_group& attempts) {
        for (auto const& endpoint : endpoints) {
          auto const attempt = attempts.spawn(
              "connect",
              [&] {
                boost::asio::ip::tcp::socket socket(io_context(place));
                boost::system::error_code failure;
                socket.async_connect(endpoint, use_fiber[failure]);
                if (failure) {
                  error = failure;
                  failed = endpoint;
                } else if (!connected.has_value()) {
                  connected = std::move(socket);
                  attempts.stop({}, place);
                }
              },
              place);
          move_on_after(
              options.attempt_delay, [&] { attempt.wait(place); }, place);
        }
      },
      place);
  if (!connected.has_value()) {
    std::ostringstream what;
    what << "fibers: connect";
    if (failed.has_value()) what << ' ' << *failed;
    throw boost::system::system_error(error, what.str());
  }
  return std::move(*connected);
}

/// Connects to a service of a host, given the name or address of the host and the name or port of the service.
///
/// Suspends; cancellation point: as resolve() and connect(endpoints). To limit the total time, use with_timeout().
inline boost::asio::ip::tcp::socket connect(std::string_view host, std::string_view service,
                                            connect_options const& options = {},
                                            boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return connect(detail::in_turns(resolve(host, service, place)), options, place);
}
inline boost::asio::ip::tcp::socket connect(std::string_view host, unsigned short port,
                                            connect_options const& options = {},
                                            boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return connect(host, std::to_string(port), options, place);
}

}  // namespace fibers
