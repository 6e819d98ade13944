// SPDX-License-Identifier: BSL-1.0
#pragma once

// A program as a whole: its tasks, their shared things, and the referee.

#include <deque>
#include <fibers/event.hpp>
#include <stdexcept>
#include <string>

#include "actors.hpp"
#include "shared_things.hpp"
#include "tape.hpp"

namespace fuzz {

using fibers::testing::counted_in;
using fibers::testing::law;

/// The error with which tasks fail.
struct failure : std::runtime_error {
  failure() : runtime_error("failure") {}
};

/// A law was violated, and the program cannot continue.
[[noreturn]] void give_up(char const* law);

/// With FIBERS_TRACE, prints an action of a task; null: of the referee.
void trace(actor const* who, std::string const& what);

class play {
 public:
  play(tape& t, int& failed_parts)
      : things_([&](unsigned sides) { return t.choose(sides); }), script_(t), failed_parts_(failed_parts) {}

  /// The referee. It runs as main.
  void run();

  // The interface for tasks:

  /// Adds an actor, which will get a task; `spawner` does not end before it.
  actor& add(actor* spawner, family* parent = nullptr);
  bool is_full() const { return actors_.size() >= 100; }

  /// The body of a task.
  int perform(actor& self, tape t);

  /// Cancels its task.
  void ask(actor& target);

  std::deque<actor>& actors() { return actors_; }
  fibers::testing::shared_things& things() { return things_; }

 private:
  void look();
  void rest();
  bool all_done() const;
  void check_outcome(actor& a);

  fibers::testing::shared_things things_;
  tape& script_;
  int& failed_parts_;
  fibers::event never_;
  bool deadlocks_ = false;  // otherwise it sleeps, until everything has come to rest
  std::deque<actor> actors_;
};

}  // namespace fuzz
