// SPDX-License-Identifier: BSL-1.0

// fibers PORT [SECONDS]: our echo server. SECONDS limits each read.

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fibers/asio.hpp>
#include <fibers/fibers.hpp>

using boost::asio::ip::tcp;
using fibers::use_fiber;

int main(int count, char** arguments) {
  auto const port = static_cast<unsigned short>(count > 1 ? std::atoi(arguments[1]) : 0);
  auto const limit = std::chrono::seconds(count > 2 ? std::atoi(arguments[2]) : 0);
  fibers::run([&] {
    tcp::acceptor acceptor(fibers::io_context(), tcp::endpoint(boost::asio::ip::address_v4::loopback(), port));
    std::printf("%d\n", acceptor.local_endpoint().port());
    std::fflush(stdout);
    fibers::with_task_group([&](fibers::task_group& group) {
      for (;;) {
        group.spawn([socket = acceptor.async_accept(use_fiber), limit]() mutable {
          socket.set_option(tcp::no_delay(true));
          std::array<char, 1024> buffer;
          boost::system::error_code error;
          auto const read = [&] { return socket.async_read_some(boost::asio::buffer(buffer), use_fiber[error]); };
          for (;;) {
            auto const size = limit.count() > 0 ? fibers::with_timeout(limit, read) : read();
            if (error) return;
            boost::asio::async_write(socket, boost::asio::buffer(buffer, size), use_fiber[error]);
            if (error) return;
          }
        });
      }
    });
  });
}
