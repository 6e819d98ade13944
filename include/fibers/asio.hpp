// SPDX-License-Identifier: BSL-1.0
#pragma once

// I/O with Boost.Asio: each asynchronous operation is a call that suspends the task, and a cancellation point.
//
//   fibers::run([] {
//     tcp::acceptor acceptor(fibers::io_context(), {tcp::v4(), 7000});
//     fibers::serve(acceptor, [](tcp::socket socket) {
//       std::array<char, 4096> buffer;
//       for (;;) {
//         auto const size = socket.async_read_some(boost::asio::buffer(buffer), fibers::use_fiber);
//         boost::asio::async_write(socket, boost::asio::buffer(buffer, size), fibers::use_fiber);
//       }
//     });
//   });
//
// This component is header-only, and needs the headers of Boost.Asio.

#include <fibers/asio/connect.hpp>
#include <fibers/asio/io_context.hpp>
#include <fibers/asio/serve.hpp>
#include <fibers/asio/use_fiber.hpp>
