// SPDX-License-Identifier: BSL-1.0

// asio_spawn PORT [SECONDS]: an echo server with Asio's stackful coroutines. SECONDS limits each read.

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace asio = boost::asio;
using asio::ip::tcp;

int main(int count, char** arguments) {
  auto const port = static_cast<unsigned short>(count > 1 ? std::atoi(arguments[1]) : 0);
  auto const limit = std::chrono::seconds(count > 2 ? std::atoi(arguments[2]) : 0);
  asio::io_context context(1);
  auto const rethrow = [](std::exception_ptr const& error) {
    if (error) std::rethrow_exception(error);
  };
  auto const echo = [limit](tcp::socket socket, asio::yield_context yield) {
    socket.set_option(tcp::no_delay(true));
    asio::steady_timer timer(socket.get_executor());
    std::array<char, 1024> buffer;
    boost::system::error_code error;
    for (;;) {
      if (limit.count() > 0) {
        timer.expires_after(limit);
        timer.async_wait([&socket](boost::system::error_code const& stopped) {
          if (!stopped) socket.cancel();
        });
      }
      auto const size = socket.async_read_some(asio::buffer(buffer), yield[error]);
      if (limit.count() > 0) timer.cancel();
      if (error) return;
      asio::async_write(socket, asio::buffer(buffer, size), yield[error]);
      if (error) return;
    }
  };
  asio::spawn(
      context,
      [&](asio::yield_context yield) {
        tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), port));
        std::printf("%d\n", acceptor.local_endpoint().port());
        std::fflush(stdout);
        for (;;) {
          auto socket = acceptor.async_accept(yield);
          asio::spawn(
              context,
              [&echo, socket = std::move(socket)](asio::yield_context inner) mutable {
                echo(std::move(socket), inner);
              },
              rethrow);
        }
      },
      rethrow);
  context.run();
}
