// SPDX-License-Identifier: BSL-1.0

// asio_coroutines PORT [SECONDS]: an echo server with Asio's C++20 coroutines. SECONDS limits each read.

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace asio = boost::asio;
using asio::redirect_error;
using asio::use_awaitable;
using asio::ip::tcp;

namespace {

asio::awaitable<void> echo(tcp::socket socket, std::chrono::seconds limit) {
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
    auto const size = co_await socket.async_read_some(asio::buffer(buffer), redirect_error(use_awaitable, error));
    if (limit.count() > 0) timer.cancel();
    if (error) co_return;
    co_await asio::async_write(socket, asio::buffer(buffer, size), redirect_error(use_awaitable, error));
    if (error) co_return;
  }
}

asio::awaitable<void> serve(asio::io_context& context, unsigned short port, std::chrono::seconds limit) {
  tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), port));
  std::printf("%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  for (;;) asio::co_spawn(context, echo(co_await acceptor.async_accept(use_awaitable), limit), asio::detached);
}

}  // namespace

int main(int count, char** arguments) {
  auto const port = static_cast<unsigned short>(count > 1 ? std::atoi(arguments[1]) : 0);
  auto const limit = std::chrono::seconds(count > 2 ? std::atoi(arguments[2]) : 0);
  asio::io_context context(1);
  asio::co_spawn(context, serve(context, port, limit), [](std::exception_ptr const& error) {
    if (error) std::rethrow_exception(error);
  });
  context.run();
}
