// SPDX-License-Identifier: BSL-1.0

// A TCP echo server
//
// Each connection is a task with a plain loop: read, write, repeat. Ctrl-C or SIGTERM shuts the server down gracefully:
// it accepts no new connection, and open connections have five seconds to finish.
//
//   samples/run tcp_echo 7000
//   nc 127.0.0.1 7000             # in other terminals, as many as you like
//
// You will get back each line that you type. End the server while nc is connected: it waits for five seconds.

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <csignal>

#include "server.hpp"

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Ends when the client closes its side: the read then throws asio::error::eof, which serve() treats as a normal end.
void echo(tcp::socket socket) {
  std::array<char, 16 * 1024> bytes;
  for (;;) {
    auto const size = socket.async_read_some(asio::buffer(bytes), fibers::use_fiber);
    asio::async_write(socket, asio::buffer(bytes, size), fibers::use_fiber);
  }
}

int main(int argc, char** argv) {
  return serve_on_port(argc, argv, [](tcp::acceptor& acceptor) {
    auto const serve = [&] { fibers::serve(acceptor, echo, {.grace = 5s}); };
    fibers::race(serve, [] { fibers::wait_for_signal({SIGINT, SIGTERM}); });
  });
}
