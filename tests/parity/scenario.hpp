// SPDX-License-Identifier: BSL-1.0
#pragma once

// A scenario while it is played: its tasks with their traces, and its primitives.

#include <boost/json/object.hpp>
#include <cstdint>
#include <deque>
#include <exception>
#include <fibers/fibers.hpp>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace parity {

namespace json = boost::json;
using milliseconds = std::chrono::milliseconds;

/// An exception that a scenario throws itself: E1, E2, E3, misuse.
struct scenario_error : std::runtime_error {
  using runtime_error::runtime_error;
};

/// Returns the name of an error in a trace, and the handler that catches it.
struct spelling {
  std::string text;
  std::string handler;
};
/// Throws unplayable if a scenario cannot throw this.
spelling spell(std::exception_ptr const& error);

/// A value, as text.
std::string text_of(json::value const& value);

/// "[a,b]"
std::string list(std::vector<std::string> const& texts);

/// A task.
struct record {
  std::string name = {};  // its name in the trace
  std::vector<std::pair<std::int64_t, std::string>> events = {};
  std::string value = "none";  // what its body returned
  fibers::task_handle<std::string> task = {};

  /// Returns "=V" or "!ERR" of a task that has ended.
  std::string outcome() const;
};

class scenario {
 public:
  explicit scenario(json::object const& text) : text_(text) {}

  json::object const& text() const { return text_; }
  /// All tasks in the order of their creation.
  std::deque<record>& records() { return records_; }
  /// Returns the latest task of that name, or null.
  record* find(std::string const& name) const;

  record& new_record();
  /// Removes the latest record, whose task was not created.
  void drop_record() { records_.pop_back(); }
  /// Gives the task a handle and a name, and traces its last event when it ends.
  void created(record& self, std::string const& name, fibers::task_handle<std::string> task);

  // Primitives are created when they are first named.
  fibers::mutex& lock(std::string const& name) { return locks_[name]; }
  fibers::event& event(std::string const& name) { return events_[name]; }
  fibers::condition_variable& condition(std::string const& name) { return conditions_[name]; }
  fibers::semaphore& semaphore(std::string const& name);
  fibers::barrier& barrier(std::string const& name);
  fibers::queue<std::string>& queue(std::string const& name);

  void trace(record& self, std::string event);

  /// Counts a statement. Throws after the end, and if the number indicates an endless scenario.
  void step();

  /// Ended: nothing is traced any more, and tasks leave their bodies as soon as they run.
  bool over() const { return over_; }
  void deadlock();
  /// After a deadlock, cancels all tasks, and releases locks so that waiting tasks continue. Returns true if all have
  /// ended.
  bool unwind();
  bool in_deadlock() const { return deadlock_; }
  /// The reason why it cannot be played after all; empty if it can.
  std::string const& problem() const { return problem_; }

 private:
  std::int64_t size(char const* kind, std::string const& name, std::int64_t otherwise) const;
  /// Cancels all tasks, and stops tracing.
  void give_up(std::string why);

  json::object const& text_;
  std::deque<record> records_;
  std::map<std::string, record*> latest_;
  std::map<std::string, int> times_;
  std::map<std::string, fibers::mutex> locks_;
  std::map<std::string, fibers::event> events_;
  std::map<std::string, fibers::condition_variable> conditions_;
  std::map<std::string, std::unique_ptr<fibers::semaphore>> semaphores_;
  std::map<std::string, std::unique_ptr<fibers::barrier>> barriers_;
  std::map<std::string, std::unique_ptr<fibers::queue<std::string>>> queues_;
  std::int64_t steps_ = 0;
  bool over_ = false;
  bool deadlock_ = false;
  std::string problem_;
};

}  // namespace parity
