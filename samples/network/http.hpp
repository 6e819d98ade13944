// SPDX-License-Identifier: BSL-1.0
#pragma once

// Requests and responses of the HTTP server in this folder: texts that fit into memory.

#include <boost/beast/core/string.hpp>
#include <boost/beast/http.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace http = boost::beast::http;

using request = http::request<http::string_body>;
using response = http::response<http::string_body>;

/// Reads one request of limited size.
struct request_parser : http::request_parser<http::string_body> {
  request_parser() {
    header_limit(8 * 1024);
    body_limit(1024 * 1024);
  }
};

/// A response, ready to be sent. The response to HEAD has the length of the body in its header, and no body.
inline response answer(request const& asked, http::status status, std::string text,
                       boost::beast::string_view type = "text/plain") {
  response answer(status, asked.version(), std::move(text));
  if (!type.empty()) answer.set(http::field::content_type, type);
  answer.keep_alive(asked.keep_alive());
  answer.prepare_payload();
  if (asked.method() == http::verb::head) answer.body().clear();
  return answer;
}

inline response not_allowed(request const& asked, std::string const& methods) {
  auto reply = answer(asked, http::status::method_not_allowed, "Not in this way, but: " + methods + '\n');
  reply.set(http::field::allow, methods);
  return reply;
}

/// The response to a request that could not be parsed. The beginning of the next request is unknown, so this response
/// is the last on its connection.
inline response complaint(http::status status) {
  request nothing(http::verb::get, "", 11);
  nothing.keep_alive(false);
  return answer(nothing, status, std::string(http::obsolete_reason(status)) + '\n');
}

/// The status for a request that could not be read because of this error; none if the client has disconnected.
inline std::optional<http::status> what_is_wrong(boost::system::error_code const& error) {
  if (error == http::error::end_of_stream || error == http::error::partial_message) return {};
  if (error == http::error::header_limit) return http::status::request_header_fields_too_large;
  if (error == http::error::body_limit) return http::status::payload_too_large;
  if (error.category() == make_error_code(http::error::bad_method).category()) return http::status::bad_request;
  return {};
}
