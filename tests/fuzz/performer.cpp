// SPDX-License-Identifier: BSL-1.0

// The actions of a task alone, and the scopes that it opens.

#include "performer.hpp"

#include <exception>
#include <fibers/fibers.hpp>
#include <iterator>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;
namespace this_task = fibers::this_task;

namespace fuzz {

void performer::body() {
  constexpr int deepest = 8;
  if (depth_ == deepest) return;
  counted_in const deeper(depth_);
  std::list<kid> kids;
  struct innermost {
    std::list<kid>*& current;
    std::list<kid>* outer;
    ~innermost() { current = outer; }
  } const here{kids_, std::exchange(kids_, &kids)};
  while (!tape_.over()) {
    try {
      if (!act()) return;
    } catch (fibers::queue_shut_down const&) {
    } catch (fibers::broken_barrier_error const&) {
    } catch (fibers::timeout_error const&) {
      trace(&self_, "timed out");
    }
  }
}

// Returns false if the block ends.
bool performer::act() {
  static constexpr void (performer::*acts[])() = {&performer::sleep,
                                                  &performer::yield,
                                                  &performer::spawn,
                                                  &performer::drop,
                                                  &performer::join,
                                                  &performer::cancel,
                                                  &performer::uncancel,
                                                  &performer::get,
                                                  &performer::wait_for_one,
                                                  &performer::wait_for_several,
                                                  &performer::gather_tasks,
                                                  &performer::timeout,
                                                  &performer::move_on,
                                                  &performer::reschedule,
                                                  &performer::shield,
                                                  &performer::group,
                                                  &performer::use_group,
                                                  &performer::together,
                                                  &performer::handle_cancellation,
                                                  &performer::handle_failure,
                                                  &performer::fail,
                                                  &performer::clean_up,
                                                  &performer::slow_destructor,
                                                  &performer::call_back};
  auto const chosen = choose(32);
  if (chosen == 0) return false;
  if (chosen <= std::size(acts)) {
    (this->*acts[chosen - 1])();
  } else {
    trace(&self_, "uses a thing");
    play_.things().step(*this);
  }
  return true;
}

// --- by itself ---

void performer::sleep() {
  auto const length = std::chrono::seconds(choose(4));
  auto const begin = fibers::clock::now();
  trace(&self_, "sleeps " + std::to_string(length.count()));
  wait([&] {
    struct asleep {
      explicit asleep(bool& f) : flag(f) { flag = true; }
      ~asleep() { flag = false; }
      bool& flag;
    } const here(self_.sleeps);
    fibers::sleep_for(length);
  });
  law(fibers::clock::now() >= begin + length, "a sleep is not too short");
}

void performer::yield() {
  wait([&] { choose(2) == 0 ? this_task::yield() : this_task::checkpoint(); });
}

void performer::fail() {
  trace(&self_, "fails");
  throw failure();
}

void performer::clean_up() {
  bool done = false;
  try {
    fibers::cleanup_guard const guard([&] {
      fibers::sleep_for(1s);
      done = true;
    });
    body();
  } catch (...) {
    law(done, "a clean-up runs to its end");
    throw;
  }
  law(done, "a clean-up runs to its end");
}

// Suspends without a shield only if nothing can be thrown.
void performer::slow_destructor() {
  struct slow {
    int const unwinding = std::uncaught_exceptions();
    ~slow() {
      if (std::uncaught_exceptions() > unwinding) {
        fibers::sleep_for(1s);
      } else {
        fibers::with_shield([] { fibers::sleep_for(1s); });
      }
    }
  } const here;
  body();
}

void performer::handle_cancellation() {
  trace(&self_, "would handle a cancellation");
  try {
    body();
  } catch (fibers::cancelled_error const& error) {
    if (choose(2) == 0) sleep();  // clean-up may suspend, and may be cancelled
    if (choose(2) == 0) {
      try {
        throw;
      } catch (fibers::cancelled_error const& again) {
        law(&again == &error, "a handler rethrows the cancellation that it caught");
        throw;
      }
    }
    trace(&self_, "swallows a cancellation");
  }
}

void performer::handle_failure() {
  try {
    body();
  } catch (failure const& error) {
    if (choose(2) == 0) sleep();
    try {
      throw;
    } catch (failure const& again) {
      law(&again == &error, "a handler rethrows the failure that it caught");
    }
  }
}

// --- scopes ---

void performer::timeout() {
  auto const limit = std::chrono::seconds(choose(4));
  auto const begin = fibers::clock::now();
  bool moved = false, expired = false;
  trace(&self_, "opens a timeout of " + std::to_string(limit.count()));
  try {
    fibers::with_timeout(limit, [&](fibers::timeout_scope& scope) { in_scope(scope, moved, expired); });
  } catch (fibers::timeout_error const&) {
    law(!expired || moved || fibers::clock::now() >= begin + limit, "a timeout is not too early");
    throw;
  }
}

void performer::move_on() {
  auto const limit = std::chrono::seconds(choose(4));
  auto const begin = fibers::clock::now();
  bool moved = false, expired = false;
  trace(&self_, "moves on after " + std::to_string(limit.count()));
  auto const in_time =
      fibers::move_on_after(limit, [&](fibers::timeout_scope& scope) { in_scope(scope, moved, expired); });
  law(in_time || expired, "move_on_after() returns before the end only after its limit");
  law(in_time || moved || fibers::clock::now() >= begin + limit, "a timeout is not too early");
}

void performer::in_scope(fibers::timeout_scope& scope, bool& moved, bool& expired) {
  listed const open(self_.frames.back().scopes, scope);
  auto const deadline = scope.when();
  struct at_end {
    fibers::timeout_scope& scope;
    fibers::time_point deadline;
    bool &moved, &expired;
    ~at_end() {
      moved = scope.when() != deadline;
      expired = scope.expired();
    }
  } const end{scope, deadline, moved, expired};
  body();
}

void performer::reschedule() {
  auto& scopes = self_.frames.back().scopes;
  if (scopes.empty() || scopes.back()->expired()) return;
  auto const length = choose(5);
  scopes.back()->reschedule_after(length == 4 ? fibers::time_limit(fibers::no_timeout) : std::chrono::seconds(length));
}

void performer::shield() {
  trace(&self_, "opens a shield");
  auto const shielded_body = [&] {
    shielded const here(self_);
    body();
  };
  if (choose(2) == 0) return fibers::with_shield(shielded_body);
  fibers::with_shield(std::chrono::seconds(choose(4)), [&](fibers::timeout_scope& scope) {
    shielded const here(self_);
    listed const open(self_.frames.back().scopes, scope);
    body();
  });
}

namespace {

/// A family while it exists. Its body runs inside.
struct open_family : family {
  explicit open_family(actor& self) : family{self} {}
  ~open_family() {
    for (auto* child : children) {
      law(!child->handle || child->handle.done(), "a group has waited for all its children");
      child->others_asked();  // records the reason while it exists
      child->parent = nullptr;
    }
  }
  open_family(open_family const&) = delete;
  open_family& operator=(open_family const&) = delete;
};

}  // namespace

void performer::group() {
  trace(&self_, "opens a group");
  open_family family(self_);
  bool body_failed = false, body_returned = false;
  try {
    fibers::with_task_group([&](fibers::task_group& group) {
      listed<fuzz::family> const open(self_.frames.back().families, family);
      family.group = &group;
      try {
        body();
        body_returned = true;
      } catch (fibers::cancelled_error const&) {
        family.down = true;
        throw;
      } catch (...) {
        family.down = body_failed = true;
        throw;
      }
    });
    law(family.failed == 0 && !body_failed, "a group throws only if there was an error");
  } catch (fibers::exception_group const& errors) {
    trace(&self_, errors.what());
    auto const count = errors.exceptions().size();
    auto const most = static_cast<std::size_t>(family.failed + (body_failed ? 1 : 0));
    law(count >= 1 && count <= most && count + 1 >= most, "a group contains each error once");
    if (choose(2) == 0) throw;
  } catch (fibers::cancelled_error const&) {
    law(family.failed == 0 && !body_failed, "a group throws only if there was an error");
    law(!body_returned || self_.may_be_cancelled(), "a group is not cancelled without a reason");
    throw;
  }
}

// The enclosing family, or the one of which the task is a child.
void performer::use_group() {
  auto& open = self_.frames.back().families;
  auto* const family = !open.empty() ? open.back() : self_.parent;
  if (family == nullptr || family->group == nullptr || play_.is_full()) return;
  switch (choose(8)) {
    case 0:
      trace(&self_, "cancels the children");
      for (auto* child : family->children) child->asked_otherwise = true;
      return family->group->cancel_all();
    case 1:
      trace(&self_, "stops the group");
      family->down = true;
      return family->group->stop();
    default:
      try {
        auto& child = play_.add(&family->owner, family);
        trace(&self_, "spawns " + std::to_string(child.number) + " in a group");
        child.handle = family->group->spawn([&p = play_, &child, t = tape_.cut()] { return p.perform(child, t); });
        family->children.push_back(&child);
      } catch (fibers::invalid_state_error const&) {
        play_.actors().back().parent = nullptr;  // the family is aborting, or has ended
      }
  }
}

// Runs callables in a gather() or race().
void performer::together() {
  if (play_.is_full()) return;
  open_family family(self_);
  auto const part = [&] {
    auto& child = play_.add(&self_, &family);
    child.part = true;
    family.children.push_back(&child);
    return [&p = play_, &child, &family, t = tape_.cut()] {
      child.handle = this_task::handle();
      struct at_end {
        bool& down;
        ~at_end() { down = true; }
      } const end{family.down};
      return p.perform(child, t);
    };
  };
  auto const one = part(), two = part();
  auto const how = choose(3);
  trace(&self_, (how == 0   ? "gathers parts "
                 : how == 1 ? "gathers outcomes "
                            : "races ") +
                    std::to_string(family.children[0]->number) + " and " + std::to_string(family.children[1]->number));
  try {
    if (how == 0) {
      auto const [a, b] = fibers::gather(one, two);
      law(a == family.children[0]->number && b == family.children[1]->number, "gather keeps the order");
    } else if (how == 1) {
      fibers::gather(fibers::return_exceptions, one, two);
    } else {
      auto const winner = fibers::race(one, two);
      law(std::any_of(family.children.begin(), family.children.end(),
                      [&](auto* c) { return c->number == winner && c->how == left::returned; }),
          "the winner of a race has returned");
    }
  } catch (failure const&) {
    law(how != 1 && family.failed > 0, "an error was thrown by a child");
  } catch (fibers::exception_group const&) {
    law(how != 1 && family.failed > 0, "an error was thrown by a child");
  }
}

}  // namespace fuzz
