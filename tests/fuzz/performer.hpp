// SPDX-License-Identifier: BSL-1.0
#pragma once

// The actions of one task, as its bytes determine.

#include <algorithm>
#include <chrono>
#include <fibers/task.hpp>
#include <fibers/timeout.hpp>
#include <list>
#include <span>
#include <vector>

#include "play.hpp"

namespace fuzz {

/// A task with an owner.
struct kid {
  kid(actor& a, fibers::task<int> t) : who(a), task(std::move(t)) {}
  kid(kid const&) = delete;
  kid& operator=(kid const&) = delete;
  ~kid();

  actor& who;
  fibers::task<int> task;
};

class performer {
 public:
  performer(play& p, actor& self, tape t) : play_(p), self_(self), tape_(t) {}

  /// Acts until the block or the bytes end.
  void body();

  // The interface of a player of shared things:

  unsigned choose(unsigned sides) { return tape_.choose(sides); }
  void meanwhile() { body(); }

  /// Calls a function that suspends, for its own purpose or for the end of other tasks. If it is cancelled, there must
  /// be a reason. In a shield no wait is unlimited, since nothing could end it.
  template <class Call>
  auto wait(Call call, std::span<actor* const> others = {}) -> decltype(call()) {
    try {
      if (!self_.shielded()) return call();
      return fibers::with_timeout(std::chrono::seconds(4), [&](fibers::timeout_scope& scope) {
        listed const open(self_.frames.back().scopes, scope);
        return call();
      });
    } catch (fibers::cancelled_error const&) {
      trace(&self_, "is cancelled");
      law(self_.may_be_cancelled() ||
              std::any_of(others.begin(), others.end(), [](auto* a) { return a->handle.cancelled(); }),
          "no task is cancelled without a reason");
      throw;
    }
  }

  /// The same for a wait that other tasks end.
  template <class Call>
  auto wait_for_ends(std::vector<actor*> const& targets, Call call) {
    return wait(
        [&] {
          std::list<counted_in> here;
          for (auto* target : targets) here.emplace_back(target->waiters);
          return call();
        },
        targets);
  }

 private:
  bool act();

  // --- by itself ---

  void sleep();
  void yield();
  void fail();
  void clean_up();
  void slow_destructor();
  void handle_cancellation();
  void handle_failure();

  // --- scopes ---

  void timeout();
  void move_on();
  void reschedule();
  void in_scope(fibers::timeout_scope& scope, bool& moved, bool& expired);
  void shield();
  void group();
  void use_group();
  void together();

  // --- other tasks ---

  void spawn();
  void drop();
  void join();
  void cancel();
  void uncancel();
  void get();
  void wait_for_one();
  void wait_for_several();
  void gather_tasks();
  void call_back();

  actor& somebody();
  std::vector<actor*> several();
  template <class Get>
  void fetch(actor& target, Get call);

  play& play_;
  actor& self_;
  tape tape_;
  int depth_ = 0;                   // number of enclosing blocks
  std::list<kid>* kids_ = nullptr;  // tasks of the innermost block
};

}  // namespace fuzz
