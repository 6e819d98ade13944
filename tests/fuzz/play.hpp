// SPDX-License-Identifier: BSL-1.0
#pragma once

// A program as a whole: its tasks, what they share, and the referee.

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

/// What tasks fail with.
struct failure : std::runtime_error {
  failure() : runtime_error("failure") {}
};

/// A law was broken, and nothing can go on.
[[noreturn]] void give_up(char const* law);

/// With FIBERS_TRACE: says what a task does; null: the referee.
void trace(actor const* who, std::string const& what);

class play {
 public:
  play(tape& t, int& failed_parts)
      : things_([&](unsigned sides) { return t.choose(sides); }), script_(t), failed_parts_(failed_parts) {}

  /// The referee, as main.
  void run();

  // For the tasks:

  /// One more, that will have a task; `spawner` does not end before it.
  actor& add(actor* spawner, family* parent = nullptr);
  bool is_full() const { return actors_.size() >= 100; }

  /// The body of a task.
  int perform(actor& self, tape t);

  /// Asks its task to end.
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
  bool deadlocks_ = false;  // or sleeps, to see everything come to rest
  std::deque<actor> actors_;
};

}  // namespace fuzz
