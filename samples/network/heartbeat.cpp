// SPDX-License-Identifier: BSL-1.0

// A server that reads messages with a pulse
//
// A message is its size in four digits, followed by as many bytes. Whenever half a second passes before the message is
// complete, the client gets a dot as a sign of life. The read then continues behind the bytes that have arrived.
//
//   samples/run heartbeat 7004
//   (printf 00; sleep 1; printf 05he; sleep 1; printf llo; sleep 1) | nc 127.0.0.1 7004
//
// You will see a dot every half second, and "hello" when the message is complete.

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <string>

#include "server.hpp"

namespace asio = boost::asio;
using namespace std::chrono_literals;

void read_all(tcp::socket& socket, asio::mutable_buffer room) {
  while (room.size() > 0) {
    try {
      room += fibers::with_timeout(500ms, [&] { return asio::async_read(socket, room, fibers::use_fiber); });
    } catch (fibers::timeout_error const& late) {
      room += late.transferred();  // these bytes have been read, and are no longer in the stream
      asio::async_write(socket, asio::buffer(".", 1), fibers::use_fiber);
    }
  }
}

void answer(tcp::socket socket) {
  for (;;) {
    std::string digits(4, ' ');
    read_all(socket, asio::buffer(digits));
    auto const size = to_port(digits.c_str());
    if (!size.has_value()) return hang_up(socket);
    std::string text(*size, ' ');
    read_all(socket, asio::buffer(text));
    asio::async_write(socket, asio::buffer(text), fibers::use_fiber);
  }
}

int main(int argc, char** argv) {
  return serve_on_port(argc, argv, [](tcp::acceptor& acceptor) {
    auto const serve = [&] { fibers::serve(acceptor, answer, {.grace = 1s}); };
    fibers::race(serve, [] { fibers::wait_for_signal({SIGINT, SIGTERM}); });
  });
}
