// SPDX-License-Identifier: BSL-1.0

// Interprets bytes as a program of tasks: they spawn, cancel, wait for each other, open timeouts, shields and groups,
// and use shared things. The program runs in virtual time, and the laws must hold in each. Each byte is a choice, each
// task has the bytes that it was given, and there are no loops, so a program ends.
//
// The referee spawns the first tasks, checks them when no task can proceed any more, and then cancels the remaining
// ones, repeatedly, since tasks may swallow that. No task waits without a limit in a shield, so this terminates.
//
// FIBERS_TRACE=1 prints the actions of the tasks.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fibers/fibers.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "performer.hpp"
#include "play.hpp"

using namespace std::chrono_literals;
using fibers::testing::broken;
namespace this_task = fibers::this_task;

namespace fuzz {

void give_up(char const* law) {
  std::fprintf(stderr, "broken: %s\n", law);
  std::abort();
}

namespace {
bool tracing() {
  static bool const on = std::getenv("FIBERS_TRACE") != nullptr;
  return on;
}

}  // namespace

void trace(actor const* who, std::string const& what) {
  if (!tracing()) return;
  auto const now = std::chrono::duration<double>(fibers::clock::now().time_since_epoch()).count();
  std::fprintf(stderr, "%6.1f  %s  %s\n", now, who != nullptr ? std::to_string(who->number).c_str() : "-",
               what.c_str());
}

// --- tasks ---

actor& play::add(actor* spawner, family* parent) {
  auto& made = actors_.emplace_back();
  made.number = static_cast<int>(actors_.size());
  made.spawner = spawner;
  made.parent = parent;
  return made;
}

int play::perform(actor& self, tape t) {
  self.how = left::running;
  trace(&self, "begins");
  try {
    performer(*this, self, t).body();
    if (!self.others_asked()) {
      law(this_task::cancelling() == self.asked_directly - self.taken_back, "scopes withdraw their own requests");
    }
    self.how = left::returned;
    trace(&self, "returns");
    return self.number;
  } catch (fibers::cancelled_error const&) {
    self.how = left::cancelled;
    trace(&self, "ends cancelled");
    throw;
  } catch (std::exception const& error) {
    auto const expected = dynamic_cast<failure const*>(&error) != nullptr ||
                          dynamic_cast<fibers::exception_group const*>(&error) != nullptr;
    law(expected, error.what());
    self.how = left::failed;
    self.error = std::current_exception();
    trace(&self, "ends failed");
    if (self.part) ++failed_parts_;
    if (self.parent != nullptr) {
      ++self.parent->failed;
      self.parent->down = true;
    }
    throw;
  }
}

void play::ask(actor& target) {
  bool const ended = target.handle.done();
  bool const accepted = target.handle.cancel();
  law(accepted != ended, "a request is accepted as long as the task has not ended");
  if (accepted) ++target.asked_directly;
}

// --- the referee ---

void play::run() {
  deadlocks_ = script_.choose(2) == 1;
  std::vector<unsigned> moves;
  for (int i = 0; i < 4; ++i) moves.push_back(script_.choose(16));

  auto const first = 1 + script_.choose(4);
  for (unsigned i = 0; i < first; ++i) {
    auto& who = add(nullptr);
    auto const its = i + 1 < first ? script_.cut() : script_;
    who.handle = fibers::spawn([this, &who, its] { return perform(who, its); }).detach();
  }

  for (auto const move : moves) {
    fibers::sleep_for(500ms);  // other tasks act at full seconds only
    look();
    fibers::sleep_for(500ms);
    if (move > 0 && actors_[move % actors_.size()].handle) {
      trace(nullptr, "cancels " + std::to_string(actors_[move % actors_.size()].number));
      ask(actors_[move % actors_.size()]);
    }
  }
  rest();
  auto const all_done = [this] {
    return std::all_of(actors_.begin(), actors_.end(), [](auto& a) { return !a.handle || a.handle.done(); });
  };
  for (int round = 0; !all_done(); ++round) {
    if (round == 10'000) give_up("a task that is cancelled repeatedly ends");
    trace(nullptr, "cancels all");
    for (std::size_t i = 0; i < actors_.size(); ++i) {
      if (actors_[i].handle && !actors_[i].handle.done()) ask(actors_[i]);
    }
    rest();
  }

  fibers::sleep_for(1s);  // for the last callbacks
  for (auto& a : actors_) check_outcome(a);
  things_.check_books();
}

// Waits until no task can proceed any more.
void play::rest() {
  if (deadlocks_) {
    try {
      never_.wait();
      law(false, "an event that is never set ends no wait");
    } catch (fibers::deadlock_error const& deadlock) {
      trace(nullptr, deadlock.what());
      std::string_view const text(deadlock.what());
      law(text.find("'main'") != text.npos, "a deadlock names the waiting tasks");
    }
  } else {
    fibers::sleep_for(24h);
  }
  look();
  for (auto& a : actors_) {
    if (!a.handle || a.handle.done()) continue;
    law(!a.sleeps, "no task sleeps for ever");
    for (auto const& frame : a.frames) {
      law(std::all_of(frame.scopes.begin(), frame.scopes.end(),
                      [](auto* s) { return s->expired() || s->when() == fibers::no_timeout; }),
          "time passes for everybody");
    }
  }
}

void play::look() {
  things_.check_at_rest();
  for (auto const& a : actors_) {
    if (!a.handle) continue;
    law(!a.handle.done() || a.waiters == 0, "no task waits for a task that has ended");
    bool const doomed = a.parent != nullptr && a.parent->group != nullptr && a.parent->down && !a.handle.done();
    law(!doomed || a.handle.cancelling() > 0 || a.took_back, "a group that aborts has cancelled its children");
  }
}

void play::check_outcome(actor& a) {
  law(a.called == a.callbacks, "each callback is called once");
  law(a.waiters == 0 && a.getters.empty() && a.frames.size() == 1, "nothing is left open");
  if (!a.handle) return;
  bool const cancelled = a.handle.cancelled();
  if (a.part) return;
  switch (a.how) {
    case left::not_begun:
      return law(cancelled && a.asked(), "a task that never began was cancelled before");
    case left::running:
      return law(false, "a task that has ended has left its body");
    case left::returned:
      return law(!cancelled || a.asked(), "a task that returns without a request is not cancelled");
    case left::cancelled:
      return law(cancelled, "a task that a cancellation leaves ends cancelled");
    case left::failed:
      return law(!cancelled && a.handle.exception() == a.error, "a task that fails ends with its error");
  }
}

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static fibers::task_local<std::shared_ptr<int>> mark;
  std::weak_ptr<int> alive;
  int failed_parts = 0, unfetched = 0;
  broken.clear();

  fibers::run_options options;
  options.clock = fibers::clock_kind::virtual_time;
  options.stack_size = 1024 * 1024;
  options.on_unhandled = [&](std::string const&, std::exception_ptr) { ++unfetched; };
  fibers::run(options, [&] {
    try {
      auto const made = std::make_shared<int>();
      alive = made;
      mark.set(made);
      fuzz::tape bytes({data, size});
      fuzz::play(bytes, failed_parts).run();
    } catch (...) {
      fuzz::give_up("the referee is not cancelled, and gets no other exception");
    }
  });
  fuzz::law(alive.expired(), "no task is left");
  fuzz::law(unfetched <= failed_parts, "a fetched error is not reported");

  for (auto const& what : broken) std::fprintf(stderr, "broken: %s\n", what.c_str());
  if (!broken.empty()) std::abort();
  return 0;
}
