// SPDX-License-Identifier: BSL-1.0
#pragma once

// Common parts of the servers: the port on the command line, the line that prints the address, and a lingering close.

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <charconv>
#include <cstring>
#include <exception>
#include <fibers/asio.hpp>
#include <fibers/fibers.hpp>
#include <iostream>
#include <optional>

using boost::asio::ip::tcp;

inline std::optional<unsigned short> to_port(char const* text) {
  unsigned short port = 0;
  char const* const end = text + std::strlen(text);
  auto const [stopped_at, error] = std::from_chars(text, end, port);
  if (error != std::errc() || stopped_at != end) return {};
  return port;
}

/// Calls main(acceptor) in fibers::run(), with the port of the command line. Returns the exit status of the program.
template <class Main>
int serve_on_port(int argc, char** argv, Main main) {
  auto const port = argc > 1 ? to_port(argv[1]) : std::nullopt;
  if (!port.has_value()) {
    std::cerr << "usage: " << argv[0] << " PORT    (0: any that is free)\n";
    return 2;
  }
  try {
    fibers::run([&] {
      tcp::acceptor acceptor(fibers::io_context(), {boost::asio::ip::address_v4::loopback(), *port});
      std::cout << "listening on " << acceptor.local_endpoint() << std::endl;  // flushes, also into a pipe
      main(acceptor);
    });
    return 0;
  } catch (std::exception const& error) {
    std::cerr << argv[0] << ": " << error.what() << '\n';
    return 1;
  }
}

/// Closes a connection after its last message. Closing a socket that still has unread bytes resets the connection, and
/// the client could lose that message. Therefore this shuts down the sending side, and reads until the client has
/// closed its side, for at most a second.
inline void hang_up(tcp::socket& socket) {
  boost::system::error_code error;
  socket.shutdown(tcp::socket::shutdown_send, error);
  std::array<char, 4096> dropped;
  fibers::move_on_after(std::chrono::seconds(1), [&] {
    while (!error) socket.async_read_some(boost::asio::buffer(dropped), fibers::use_fiber[error]);
  });
}
