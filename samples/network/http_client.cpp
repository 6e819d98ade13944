// SPDX-License-Identifier: BSL-1.0

// An HTTP client
//
// Fetches all pages on the command line concurrently. A failed attempt is repeated after a pause that doubles each
// time. All pages share one deadline. The client then shows each page that has arrived, and the error of each other
// page.
//
//   samples/run http_server 8080        # in another terminal
//   samples/run http_client http://127.0.0.1:8080/ http://127.0.0.1:8080/slow http://127.0.0.1:1/
//
// You will see the first page at once, the slow one after two seconds, and three attempts at the one that does not
// exist.

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <fibers/asio.hpp>
#include <fibers/fibers.hpp>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace http = boost::beast::http;
using fibers::use_fiber;
using namespace std::chrono_literals;

using response = http::response<http::string_body>;

constexpr auto time_for_all = 10s;
constexpr auto time_for_attempt = 3s;
constexpr int attempts = 3;
constexpr std::uint64_t body_limit = 10 * 1024 * 1024;

struct address {
  std::string host, port, target;
};

address parse(std::string_view url) {
  constexpr std::string_view scheme = "http://";
  auto const rest = url.starts_with(scheme) ? url.substr(scheme.size()) : "";
  auto const host_and_port = rest.substr(0, rest.find_first_of("/#"));
  auto const target = rest.substr(host_and_port.size(), rest.find('#') - host_and_port.size());
  auto const colon = host_and_port.rfind(':');
  address there{std::string(host_and_port.substr(0, colon)), "80", target.empty() ? "/" : std::string(target)};
  if (colon != std::string_view::npos) there.port = host_and_port.substr(colon + 1);
  if (there.host.empty() || there.port.empty()) throw std::invalid_argument("no URL like http://HOST[:PORT][/PATH]");
  return there;
}

response get(address const& from) {
  auto socket = fibers::connect(from.host, from.port);
  http::request<http::empty_body> request(http::verb::get, from.target, 11);
  request.set(http::field::host, from.host + ':' + from.port);
  request.keep_alive(false);
  http::async_write(socket, request, use_fiber);

  http::response_parser<http::string_body> parser;
  parser.body_limit(body_limit);
  boost::beast::flat_buffer received;
  http::async_read(socket, received, parser, use_fiber);
  auto const status = parser.get().result();
  if (http::to_status_class(status) == http::status_class::server_error) {
    throw std::runtime_error(std::string(http::obsolete_reason(status)));
  }
  return parser.release();
}

std::string describe(std::exception const& error) {
  auto const* const of_system = dynamic_cast<boost::system::system_error const*>(&error);
  return of_system != nullptr ? of_system->code().message() : error.what();
}

response get_patiently(std::string const& url) {
  auto const from = parse(url);
  auto pause = 100ms;
  for (int attempt = 1;; ++attempt) {
    try {
      return fibers::with_timeout(time_for_attempt, [&] { return get(from); });
    } catch (std::exception const& error) {  // the common deadline arrives as cancelled_error, no std::exception
      if (attempt == attempts) throw;
      std::cerr << url << ": " << describe(error) << "; again in " << pause.count() << " ms\n";
    }
    fibers::sleep_for(pause);
    pause *= 2;
  }
}

/// Returns true if every page was fetched with status 200.
bool show_all(std::vector<std::string> const& urls) {
  auto const deadline = fibers::clock::now() + time_for_all;
  std::vector<std::function<response()>> calls;
  for (auto const& url : urls) {
    calls.push_back([&] { return fibers::with_timeout_at(deadline, [&] { return get_patiently(url); }); });
  }
  auto const outcomes = fibers::gather(fibers::return_exceptions, calls);

  bool all_there = true;
  for (std::size_t i = 0; i < urls.size(); ++i) {
    std::cout << urls[i] << ": ";
    try {
      auto const& page = outcomes[i].value();
      std::cout << page.result_int() << ' ' << page.reason() << ", " << page.body().size() << " bytes\n";
      all_there = all_there && page.result() == http::status::ok;
    } catch (std::exception const& error) {
      std::cout << "failed: " << describe(error) << '\n';
      all_there = false;
    }
  }
  return all_there;
}

int main(int argc, char** argv) {
  std::vector<std::string> const urls(argv + 1, argv + argc);
  if (urls.empty()) {
    std::cerr << "usage: " << argv[0] << " URL…\n";
    return 2;
  }
  return fibers::run([&] { return show_all(urls); }) ? 0 : 1;
}
