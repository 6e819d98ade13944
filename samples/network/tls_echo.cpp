// SPDX-License-Identifier: BSL-1.0

// A TLS echo server
//
// It makes its certificate itself when it starts, and writes it to a file if you name one, for clients to check.
//
//   samples/run tls_echo 7002 /tmp/certificate.pem
//   openssl s_client -connect 127.0.0.1:7002 -CAfile /tmp/certificate.pem -verify_return_error -brief
//
// TLS ends with a word from each side, so that nobody can cut a text short unseen. So a connection that is cancelled
// says good bye, too: under a shield, since the request to cancel has come already and another one may come; and with a
// deadline of its own, since the other side may never answer. End the server while a client is connected: after two
// seconds of grace openssl says "closed", and not that the connection broke off.

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

/// Until the client has nothing more to say, or the connection is broken.
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
    error_code ignored;  // the client may have gone without a word
    fibers::with_shield(1s, [&] { stream.async_shutdown(use_fiber[ignored]); });
  } catch (fibers::timeout_error const&) {  // it does not answer: the socket is closed all the same
  }
}

void serve_client(tls_stream stream) {
  try {
    fibers::with_timeout(5s, [&] { stream.async_handshake(tls_stream::server, use_fiber); });
  } catch (std::exception const& error) {  // to be cancelled is no std::exception
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
