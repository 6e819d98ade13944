// SPDX-License-Identifier: BSL-1.0
#pragma once

// Support for tests of input and output: on loopback only, in real time, and nothing is left open at the end.

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <chrono>
#include <cstddef>
#include <fibers/asio.hpp>
#include <fibers/run.hpp>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "record.hpp"

namespace fibers::testing {

namespace asio = boost::asio;
using asio::ip::tcp;
using local = asio::local::stream_protocol;

/// Returns the number of open descriptors of this process.
inline std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

/// A test case whose tasks may use the network. At its end no descriptor and no counted object is left, and no
/// exception that was neither fetched nor expected.
class network {
 public:
  network() = default;
  network(network const&) = delete;
  network& operator=(network const&) = delete;
  ~network() {
    CHECK(unfetched.empty());
    CHECK(counted::alive == 0);
    CHECK(open_descriptors() == descriptors_before_);
  }

 protected:
  template <class F>
  decltype(auto) run(F main) {
    return fibers::run(options(), main);
  }

  run_options options(clock_kind clock = clock_kind::steady) {
    run_options o;
    o.clock = clock;
    o.on_unhandled = [this](std::string const& task, std::exception_ptr error) {
      unfetched.push_back(task + ": " + how([&] { std::rethrow_exception(error); }));
    };
    return o;
  }

  std::vector<std::string> unfetched;

 private:
  std::ptrdiff_t const descriptors_before_ = open_descriptors();
};

/// Both ends of a connection, on the running loop's io_context.
struct both_ends {
  both_ends() { asio::local::connect_pair(near, far); }
  local::socket near{io_context()}, far{io_context()};
};

inline tcp::acceptor listen_on_loopback() { return tcp::acceptor(io_context(), {asio::ip::address_v4::loopback(), 0}); }

/// The same over TCP, which can be reset.
struct both_tcp_ends {
  both_tcp_ends() {
    auto acceptor = listen_on_loopback();
    near.connect(acceptor.local_endpoint());
    acceptor.accept(far);
  }
  tcp::socket near{io_context()}, far{io_context()};
};

/// Reads everything until the other end closes.
template <class Socket>
std::string read_to_end(Socket& socket) {
  std::string text;
  boost::system::error_code error;
  char buffer[4096];
  while (!error) text.append(buffer, socket.async_read_some(asio::buffer(buffer), use_fiber[error]));
  return error == asio::error::eof ? text : text + " then " + error.message();
}

/// A text in which each piece is recognizable, so that a lost or duplicated piece is detected.
inline std::string numbered(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) text += std::to_string(i) + ' ';
  text.resize(size);
  return text;
}

}  // namespace fibers::testing
