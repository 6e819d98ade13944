// SPDX-License-Identifier: BSL-1.0

// A TLS echo server
//
// The server creates its certificate at the start, and writes it to a file if you name one, for clients to check.
//
//   samples/run tls_echo 7002 /tmp/certificate.pem
//   openssl s_client -connect 127.0.0.1:7002 -CAfile /tmp/certificate.pem -verify_return_error -brief
//
// TLS ends with a close_notify message from each side, so that a truncated stream is detected. A cancelled connection
// must send it, too: under a shield, since another request may arrive; and with a deadline of its own, since the client
// may never answer. End the server while a client is connected: after the grace period of two seconds openssl prints
// "closed", and not that the connection was broken.

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <csignal>

#include "self_signed.hpp"
#include "server.hpp"

namespace asio = boost::asio;
using boost::system::error_code;
using fibers::use_fiber;
using namespace std::chrono_literals;

using tls_stream = asio::ssl::stream<tcp::socket>;

/// Echoes until the client closes its side, or the connection is broken.
void echo(tls_stream& stream) {
  std::array<char, 16 * 1024> bytes;
  for (error_code error;;) {
    auto const size = stream.async_read_some(asio::buffer(bytes), use_fiber[error]);
    if (error) return;
    asio::async_write(stream, asio::buffer(bytes, size), use_fiber[error]);
    if (error) return;
  }
}

void say_good_bye(tls_stream& stream) {
  try {
    error_code ignored;  // the client may have closed the connection without close_notify
    fibers::with_shield(1s, [&] { stream.async_shutdown(use_fiber[ignored]); });
  } catch (fibers::timeout_error const&) {  // no answer: the socket is closed nevertheless
  }
}

void serve_client(tls_stream stream) {
  try {
    fibers::with_timeout(5s, [&] { stream.async_handshake(tls_stream::server, use_fiber); });
  } catch (std::exception const& error) {  // failures only: cancelled_error is no std::exception
    std::cerr << "a client speaks no TLS: " << error.what() << '\n';
    return;
  }
  try {
    echo(stream);
  } catch (fibers::cancelled_error const&) {
    say_good_bye(stream);
    throw;
  }
  say_good_bye(stream);
}

int main(int argc, char** argv) {
  return serve_on_port(argc, argv, [&](tcp::acceptor& acceptor) {
    auto context = self_signed_context(argc > 2 ? argv[2] : nullptr);
    auto const serve_one = [&](tcp::socket socket) { serve_client(tls_stream(std::move(socket), context)); };
    auto const serve = [&] { fibers::serve(acceptor, serve_one, {.grace = 2s}); };
    fibers::race(serve, [] { fibers::wait_for_signal({SIGINT, SIGTERM}); });
  });
}
