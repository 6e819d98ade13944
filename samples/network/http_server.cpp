// SPDX-License-Identifier: BSL-1.0

// An HTTP server
//
// HTTP/1.1 by Boost.Beast, with what a server needs so that no client can harm the others: limits of time and size, and
// a graceful shutdown. Each connection is a task: it waits for a request, answers it, and repeats.
//
//   samples/run http_server 8080
//   curl 127.0.0.1:8080/slow                                  # takes two seconds
//   curl -d 'hello' 127.0.0.1:8080/echo
//   seq 300000 | curl --data-binary @- 127.0.0.1:8080/echo    # too large: 413
//   nc 127.0.0.1 8080                                         # nonsense and two returns: 400; one line only: 408
//
// In a browser, http://127.0.0.1:8080/ shows the current counts, and refreshes itself. Press Ctrl-C while a client
// waits for /slow: the client still gets its answer, and then the server ends.

#include <boost/beast/core/flat_buffer.hpp>
#include <csignal>
#include <sstream>

#include "http.hpp"
#include "server.hpp"

namespace beast = boost::beast;
using fibers::use_fiber;
using namespace std::chrono_literals;

constexpr auto time_between_requests = 10s;
constexpr auto time_for_request = 5s;  // to arrive and to be processed
constexpr auto time_for_answer = 5s;   // to be received by the client
constexpr auto time_of_grace = 8s;

class http_server {
 public:
  void serve_connection(tcp::socket socket) {
    counted const here(connections_);
    beast::flat_buffer received;  // may hold the beginning of the next request
    try {
      for (bool more = true; more && comes_request(socket, received);) {
        auto reply = serve_request(socket, received);
        more = reply.keep_alive() && !stopping_.is_set();
        reply.keep_alive(more);
        fibers::with_timeout(time_for_answer, [&] { http::async_write(socket, reply, use_fiber); });
      }
      hang_up(socket);
    } catch (boost::system::system_error const&) {  // the client has disconnected
    } catch (fibers::timeout_error const&) {        // the client does not read its answer
    }
  }

  /// Begins the shutdown: each connection ends after the request that is under way.
  void stop() { stopping_.set(); }

 private:
  struct counter {
    int now = 0, in_all = 0;
  };
  struct counted {
    explicit counted(counter& c) : what(c) { ++what.now, ++what.in_all; }
    ~counted() { --what.now; }
    counter& what;
  };

  /// Waits until a request begins. Returns false if none comes in time, or if the server stops.
  bool comes_request(tcp::socket& socket, beast::flat_buffer const& received) {
    if (received.size() > 0) return true;
    auto const begins = [&] {
      socket.async_wait(tcp::socket::wait_read, use_fiber);
      return true;
    };
    auto const stops = [&] {
      stopping_.wait();
      return false;
    };
    return fibers::move_on_after(time_between_requests, [&] { return fibers::race(begins, stops); }).value_or(false);
  }

  response serve_request(tcp::socket& socket, beast::flat_buffer& received) {
    counted const here(requests_);
    try {
      return fibers::with_timeout(time_for_request, [&] { return answer_to(read_request(socket, received)); });
    } catch (fibers::timeout_error const&) {
      return refuse(http::status::request_timeout);
    } catch (boost::system::system_error const& error) {
      if (auto const status = what_is_wrong(error.code())) return refuse(*status);
      throw;
    }
  }

  static request read_request(tcp::socket& socket, beast::flat_buffer& received) {
    request_parser parser;
    http::async_read_header(socket, received, parser, use_fiber);
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      http::async_write(socket, response(http::status::continue_, 11), use_fiber);
    }
    http::async_read(socket, received, parser, use_fiber);
    return parser.release();
  }

  response answer_to(request const& asked) {
    if (asked.version() == 11 && asked.count(http::field::host) != 1) return refuse(http::status::bad_request);
    if (asked.target() == "/echo") {
      if (asked.method() != http::verb::post) return not_allowed(asked, "POST");
      return answer(asked, http::status::ok, asked.body(), asked[http::field::content_type]);
    }
    if (asked.method() != http::verb::get && asked.method() != http::verb::head) return not_allowed(asked, "GET, HEAD");
    if (asked.target() == "/") return answer(asked, http::status::ok, page(), "text/html");
    if (asked.target() == "/slow") {
      fibers::sleep_for(2s);
      return answer(asked, http::status::ok, "That took two seconds.\n");
    }
    return answer(asked, http::status::not_found, "There is nothing here.\n");
  }

  response refuse(http::status status) {
    ++refused_;
    return complaint(status);
  }

  std::string page() const {
    std::ostringstream html;
    html << "<!doctype html><title>fibers</title><meta http-equiv=refresh content=1><table><tr><th><th>now<th>in all\n"
         << "<tr><td>connections<td>" << connections_.now << "<td>" << connections_.in_all << '\n'
         << "<tr><td>requests<td>" << requests_.now << "<td>" << requests_.in_all << '\n'
         << "<tr><td>refused<td><td>" << refused_ << "\n</table>\n";
    return html.str();
  }

  counter connections_, requests_;
  int refused_ = 0;
  fibers::event stopping_;
};

int main(int argc, char** argv) {
  return serve_on_port(argc, argv, [](tcp::acceptor& acceptor) {
    http_server server;
    auto const serve_one = [&](tcp::socket socket) { server.serve_connection(std::move(socket)); };
    auto const serve = [&] { fibers::serve(acceptor, serve_one, {.max_connections = 1000, .grace = time_of_grace}); };
    fibers::race(serve, [&] {
      fibers::wait_for_signal({SIGINT, SIGTERM});
      server.stop();
    });
  });
}
