// SPDX-License-Identifier: BSL-1.0

// The actions of a task on other tasks.

#include <fibers/fibers.hpp>
#include <optional>
#include <string>

#include "performer.hpp"

using namespace std::chrono_literals;
namespace this_task = fibers::this_task;

namespace fuzz {

namespace {

std::vector<fibers::task_handle<>> handles(std::vector<actor*> const& all) {
  std::vector<fibers::task_handle<>> result;
  for (auto const* a : all) result.push_back(a->handle);
  return result;
}

}  // namespace

kid::~kid() {
  if (!task || task.done()) return;
  who.asked_otherwise = true;
  auto const gone = task.handle();
  trace(&who, "is given up");
  task = {};
  law(gone.done(), "a task does not outlive its owner");
}

// Calls get(), and checks that its outcome is possible.
template <class Get>
void performer::fetch(actor& target, Get call) {
  bool const own = &target == &self_;
  if (self_.holds_up(target)) return;
  try {
    wait_for_ends({&target}, [&] {
      getting const here(self_, target);
      call();
    });
  } catch (fibers::invalid_state_error const&) {  // the tasks would wait for each other
    return;
  } catch (fibers::cancelled_error const&) {
    throw;
  } catch (fibers::timeout_error const&) {
    throw;
  } catch (...) {
    law(target.part || target.error == std::current_exception(), "get() throws what left the task");
    if (choose(2) == 0) throw;
    return;
  }
  law(!own, "no task waits for itself");
  law(target.handle.done() && !target.handle.cancelled() && (target.part || target.how == left::returned),
      "get() returns if the task has");
}

void performer::spawn() {
  if (play_.is_full()) return;
  auto& who = play_.add(&self_);
  trace(&self_, "spawns " + std::to_string(who.number));
  auto task = fibers::spawn([&p = play_, &who, t = tape_.cut()] { return p.perform(who, t); });
  who.handle = task.handle();
  if (choose(4) == 0) {
    task.detach();
    who.spawner = nullptr;
  } else {
    kids_->emplace_back(who, std::move(task));
  }
}

// Chooses a task that has a handle.
actor& performer::somebody() {
  auto const count = static_cast<unsigned>(play_.actors().size());
  auto& chosen = play_.actors()[choose(count)];
  return chosen.handle ? chosen : self_;
}

void performer::cancel() {
  auto& target = somebody();
  trace(&self_, "cancels " + std::to_string(target.number));
  play_.ask(target);
}

// Acts only if the source of the counted requests is known.
void performer::uncancel() {
  auto const& outermost = self_.frames.front();
  if (self_.shielded() || !outermost.scopes.empty() || !outermost.families.empty()) return;
  auto const before = this_task::cancelling();
  law(this_task::uncancel() == std::max(before - 1, 0), "uncancel withdraws one request");
  self_.took_back = true;
  if (before > 0 && !self_.others_asked()) ++self_.taken_back;
}

void performer::drop() {
  if (!kids_->empty()) kids_->pop_front();
}

void performer::join() {
  if (kids_->empty()) return;
  auto& kid = kids_->front();
  trace(&self_, "gets its " + std::to_string(kid.who.number));
  std::optional<int> result;
  fetch(kid.who, [&] { result = kid.task.get(); });
  law(!result || *result == kid.who.number, "a result is that of its task");
  kids_->pop_front();
}

void performer::get() {
  auto& target = somebody();
  trace(&self_, "gets " + std::to_string(target.number));
  fetch(target, [&] { target.handle.get(); });
}

// Waits without forwarding.
void performer::wait_for_one() {
  auto& target = somebody();
  auto const how = choose(4);
  trace(&self_, "waits for " + std::to_string(target.number));
  try {
    if (how == 0) {
      wait_for_ends({&target}, [&] { fibers::shield(target.handle); });
    } else if (how == 1) {
      wait_for_ends({&target}, [&] {
        if (!target.handle.done()) ++target.asked_directly;
        target.handle.cancel_and_wait();
      });
    } else {
      wait_for_ends({&target}, [&] { target.handle.wait(); });
    }
  } catch (fibers::invalid_state_error const&) {
    return;
  } catch (failure const&) {
    law(how == 0, "wait() throws nothing of the task's");
  } catch (fibers::exception_group const&) {
    law(how == 0, "wait() throws nothing of the task's");
  }
  law(target.handle.done(), "a wait for a task ends after the task");
}

std::vector<actor*> performer::several() {
  std::vector<actor*> all;
  for (auto count = 1 + choose(3); count > 0; --count) {
    auto& one = somebody();
    if (&one != &self_ && std::find(all.begin(), all.end(), &one) == all.end()) all.push_back(&one);
  }
  return all;
}

void performer::wait_for_several() {
  auto const targets = several();
  if (targets.empty()) return;
  auto const when = static_cast<fibers::return_when>(choose(3));
  trace(&self_, "waits for some of " + std::to_string(targets.size()));
  if (choose(4) == 0) {
    auto tasks = fibers::as_completed(handles(targets));
    for (std::size_t i = 0; i < targets.size(); ++i) {
      auto const next = wait([&] { return tasks.next(); }, targets);
      law(next.has_value() && next->done(), "as_completed yields tasks that have ended");
    }
    return;
  }
  auto const all = handles(targets);
  auto const result = wait([&] { return fibers::wait(all, when, 3s); }, targets);
  law(result.done.size() + result.pending.size() == all.size(), "wait() returns all tasks");
  law(std::all_of(result.done.begin(), result.done.end(), [](auto& t) { return t.done(); }), "done tasks are done");
}

void performer::gather_tasks() {
  auto targets = several();
  std::erase_if(targets, [&](auto* target) { return self_.holds_up(*target); });
  if (targets.empty()) return;
  auto const all = handles(targets);
  bool const tolerant = choose(2) == 0;
  trace(&self_, "gathers " + std::to_string(targets.size()));
  try {
    wait(
        [&] {
          std::list<getting> getters;
          for (auto* target : targets) getters.emplace_back(self_, *target);
          if (tolerant) {
            auto const outcomes = fibers::gather(fibers::return_exceptions, all);
            law(outcomes.size() == all.size(), "gather returns each outcome");
          } else {
            fibers::gather(all);
          }
        },
        targets);
    for (auto const* a : targets) law(a->handle.done(), "gather waits for all");
  } catch (fibers::invalid_state_error const&) {
  } catch (failure const&) {
    law(!tolerant, "gather with return_exceptions throws no errors");
  } catch (fibers::exception_group const&) {
    law(!tolerant, "gather with return_exceptions throws no errors");
  }
}

void performer::call_back() {
  auto& target = somebody();
  auto* const to_cancel = choose(2) == 0 ? &somebody() : nullptr;
  ++target.callbacks;
  target.handle.on_done([&p = play_, &target, to_cancel] {
    ++target.called;
    law(target.handle.done(), "callbacks come after the end");
    if (to_cancel != nullptr) p.ask(*to_cancel);
  });
}

}  // namespace fuzz
