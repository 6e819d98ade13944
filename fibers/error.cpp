// SPDX-License-Identifier: BSL-1.0

#include <cstring>
#include <fibers/detail/parts/memory.hpp>
#include <fibers/error.hpp>
#include <mutex>
#include <string_view>
#include <utility>

namespace fibers {

namespace {

std::string_view name_of(cancel_origin::kind via) {
  switch (via) {
    case cancel_origin::kind::by_hand:
      return "";
    case cancel_origin::kind::timeout:
      return "timeout";
    case cancel_origin::kind::task_group:
      return "task group";
    case cancel_origin::kind::gather:
      return "gather";
    case cancel_origin::kind::race:
      return "race";
    case cancel_origin::kind::owner:
      return "its task<> was destroyed";
    case cancel_origin::kind::shutdown:
      return "run() is over";
    case cancel_origin::kind::signal:
      return "signal";
  }
  return "";
}

std::string describe(std::string const& message, cancel_origin const& origin) {
  std::string text = "cancelled";
  if (!message.empty()) text += ": " + message;
  std::string details(name_of(origin.via));
  auto const add = [&details](std::string const& more) { details += (details.empty() ? "" : ", ") + more; };
  if (!origin.task.empty()) add("by task '" + origin.task + "'");
  if (origin.place.line() != 0) {
    auto const at = "at " + detail::to_string(origin.place);
    details += (details.empty() ? "" : " ") + at;
  }
  return details.empty() ? text : text + " (" + details + ")";
}

}  // namespace

struct cancelled_error::record {
  record(std::string m, cancel_origin o) : message(std::move(m)), origin(std::move(o)) {}

  std::string message;
  cancel_origin origin;
  mutable std::once_flag described = {};  // most are never printed
  mutable std::string text = {};
};

cancelled_error::cancelled_error(std::string message, cancel_origin origin)
    : record_(std::allocate_shared<record>(detail::allocator<record>(), std::move(message), std::move(origin))) {}

std::string const& cancelled_error::message() const noexcept {
  static auto const& none = *new std::string;  // never destroyed: destructors of static objects may use it
  return record_ ? record_->message : none;
}

cancel_origin const& cancelled_error::origin() const noexcept {
  static auto const& unknown = *new cancel_origin;  // never destroyed
  return record_ ? record_->origin : unknown;
}

char const* cancelled_error::what() const noexcept {
  if (!record_) return "cancelled";
  try {
    std::call_once(record_->described, [this] { record_->text = describe(record_->message, record_->origin); });
    return record_->text.c_str();
  } catch (std::exception const&) {
    return record_->message.c_str();  // no memory for more
  }
}

interrupted_error::interrupted_error(int signal)
    : runtime_error(std::string("interrupted by ") + ::strsignal(signal)), signal_(signal) {}

std::string detail::to_string(boost::source_location const& place) {
  std::string_view file = place.file_name();
  file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0
  return std::string(file) + ':' + std::to_string(place.line());
}

}  // namespace fibers
