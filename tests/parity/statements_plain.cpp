// SPDX-License-Identifier: BSL-1.0

// Statements that concern the task alone: waiting, throwing, handling, repeating.

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "statement.hpp"

namespace parity {
namespace {

returned log(statement const& s) {
  s.trace("log:" + s.text(1));
  return {};
}

returned sleep(statement const& s) {
  auto const length = std::max<std::int64_t>(s.number(1), 0);
  s.waiting("sleep", [&] { fibers::sleep_for(milliseconds(length)); });
  return {};
}

returned yield(statement const& s) {
  s.waiting("yield", [] { fibers::this_task::yield(); });
  return {};
}

returned raise(statement const& s) {
  auto const kind = s.word(1);
  if (kind == "cancelled") throw fibers::cancelled_error();
  if (kind == "timeout") throw fibers::timeout_error();
  throw scenario_error(kind);
}

returned reraise(statement const& s) { std::rethrow_exception(s.around().caught); }

returned return_value(statement const& s) { return s.text_or(1, "none"); }

returned loop(statement const& s) {
  for (auto left = s.number(1); left > 0; --left) {
    s.play().step();  // the body may be empty
    if (auto result = play_body(s.array(2), s.around())) return result;
  }
  return {};
}

returned cancel_self(statement const& s) {
  s.trace("cancel_self");
  fibers::this_task::cancel(s.text_or(1, ""));
  return {};
}

returned uncancel(statement const& s) {
  s.trace("uncancel=" + std::to_string(fibers::this_task::uncancel()));
  return {};
}

returned cancelling(statement const& s) {
  s.trace("cancelling=" + std::to_string(fibers::this_task::cancelling()));
  return {};
}

json::array const* handler_of(json::object const& clauses, std::string const& kind) {
  auto const* found = clauses.if_contains(kind);
  if (found == nullptr) found = clauses.if_contains("any");
  return found != nullptr ? &found->as_array() : nullptr;
}

// The clause is executed outside the catch block, so that the task can wait in it as anywhere.
returned try_handlers(statement const& s, json::object const& clauses) {
  std::exception_ptr error;
  try {
    return play_body(s.array(1), s.around());
  } catch (...) {
    error = std::current_exception();
  }
  auto const spelled = spell(error);
  auto const* const handler = handler_of(clauses, spelled.handler);
  if (handler == nullptr || s.play().over()) std::rethrow_exception(error);
  s.trace("caught:" + spelled.text);
  auto inside = s.around();
  inside.caught = std::move(error);
  return play_body(*handler, inside);
}

returned try_clauses(statement const& s) {
  auto const& clauses = s.object(2);
  returned result;
  std::exception_ptr error;
  try {
    result = try_handlers(s, clauses);
  } catch (...) {
    error = std::current_exception();
  }
  if (auto const* const last = clauses.if_contains("finally"); last != nullptr && !s.play().over()) {
    static_cast<void>(play_body(last->as_array(), s.around()));
  }
  if (error != nullptr) std::rethrow_exception(error);
  return result;
}

}  // namespace

statements const& plain_statements() {
  static statements const all = {
      {"log", log},
      {"sleep", sleep},
      {"yield", yield},
      {"raise", raise},
      {"reraise", reraise},
      {"return", return_value},
      {"try", try_clauses},
      {"loop", loop},
      {"cancel_self", cancel_self},
      {"uncancel", uncancel},
      {"cancelling", cancelling},
  };
  return all;
}

}  // namespace parity
