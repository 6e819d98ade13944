// SPDX-License-Identifier: BSL-1.0
#pragma once

// A statement of the language with its context. The statements themselves are functions, in a file for each kind. Each
// executes its statement with the library's own functions.

#include <boost/json/array.hpp>
#include <cstdint>
#include <exception>
#include <fibers/fibers.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "scenario.hpp"

namespace parity {

struct surroundings {
  scenario& play;
  record& self;
  fibers::task_group* group = nullptr;
  fibers::timeout_scope* timeout = nullptr;
  std::exception_ptr caught = nullptr;
  std::map<std::string, std::unique_lock<fibers::mutex>*> held = {};
};

/// How a body was left without an error: by `return` with a value, or at its end.
using returned = std::optional<std::string>;

returned play_body(json::array const& body, surroundings const& around);

class statement {
 public:
  statement(json::array const& words, surroundings const& around) : words_(words), around_(around) {}

  surroundings const& around() const { return around_; }
  scenario& play() const { return around_.play; }

  // The arguments, whose types were validated before.
  bool has(std::size_t i) const { return i < words_.size() && !words_[i].is_null(); }
  std::string word(std::size_t i) const { return std::string(words_[i].as_string()); }
  std::string text(std::size_t i) const { return text_of(words_[i]); }
  std::string text_or(std::size_t i, char const* otherwise) const { return has(i) ? text(i) : otherwise; }
  std::int64_t number(std::size_t i) const { return words_[i].as_int64(); }
  json::array const& array(std::size_t i) const { return words_[i].as_array(); }
  json::object const& object(std::size_t i) const { return words_[i].as_object(); }
  bool flag(std::size_t i) const { return has(i) && words_[i].as_bool(); }
  fibers::time_limit limit(std::size_t i) const {
    if (!has(i)) return fibers::no_timeout;
    return milliseconds(number(i));
  }

  /// "get:Q"
  std::string tag() const { return word(0) + ":" + word(1); }
  void trace(std::string event) const { play().trace(around_.self, std::move(event)); }

  /// Performs a wait, and traces what it throws.
  template <class F>
  auto waiting(std::string const& as, F wait) const -> decltype(wait()) {
    try {
      return wait();
    } catch (...) {
      trace(as + "!" + spell(std::current_exception()).text);
      throw;
    }
  }

  /// Executes a block. However it is left, event(error) returns what to trace.
  template <class Block, class Event>
  returned leaving(Block block, Event event) const {
    returned result;
    std::exception_ptr error;
    try {
      result = block();
    } catch (...) {
      error = std::current_exception();
    }
    trace(event(error));
    if (error != nullptr) std::rethrow_exception(error);
    return result;
  }

  [[noreturn]] void misuse(std::string const& as) const {
    trace(as + "!misuse");
    throw scenario_error("misuse");
  }

 private:
  json::array const& words_;
  surroundings const& around_;
};

using statements = std::map<std::string, returned (*)(statement const&)>;

statements const& plain_statements();
statements const& task_statements();
statements const& scope_statements();
statements const& sync_statements();

/// The callable of a new task.
inline auto task_body(scenario& play, record& self, json::array const& body, fibers::task_group* group) {
  return [&play, &self, &body, group] {
    play.trace(self, "start");
    self.value = play_body(body, {play, self, group}).value_or("none");
    return self.value;
  };
}

}  // namespace parity
