// SPDX-License-Identifier: BSL-1.0

// A request walks inwards along what tasks wait for, depth first, and in a loop, since a chain may be of any length:
// the way back is kept in the waits along it. A task that stands on the way already is not entered again; one that
// waits for such tasks only has its wait withdrawn, so that a request gets out of a cycle too.

#include <algorithm>
#include <fibers/detail/request.hpp>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "loop.hpp"

namespace fibers::detail {

namespace {

bool is_here(task_state const& task) noexcept { return &task.loop() == loop::current(); }

// True if it was accepted.
bool count(task_state& task, cancel_frame& frame, cancelled_error error) noexcept {
  std::optional<std::stop_source> stop;
  {
    std::scoped_lock const guard(task.lock());
    if (task.finished()) return false;
    task.cancels().request(frame, std::move(error));
    stop = task.stop_source();
    // Under the lock, since the loop is there as long as the task has not ended.
    if (!is_here(task)) task.loop().post(task, inbox_entry::request);
  }
  if (stop.has_value()) stop->request_stop();  // calls who knows what
  return true;
}

// Takes the task's wait back, unless it is over: the pending request will be thrown. Gives the lock up.
void withdraw(task_state& task, std::unique_lock<spinlock>& guard) noexcept {
  if (!task.waiter()->try_claim(claim::cancelled)) return;
  task.cancels().take();
  guard.unlock();
  task.loop().make_ready(task);
}

// Can the pending request be thrown where the task sleeps? Under lock.
bool may_be_thrown(task_state& task) noexcept {
  return task.cancels().deliverable() && task.waiter()->response() != on_cancel::hold;
}

// Decides about what is pending. If that is to pass it on: to what.
awaited_tasks* serve(task_state& task) noexcept {
  if (task.stage() != stage::suspended) return nullptr;
  auto& w = *task.waiter();
  std::unique_lock guard(task.lock());
  if (!may_be_thrown(task)) return nullptr;

  if (auto* const awaited = w.awaited()) {
    if (w.claimed() != claim::none) return nullptr;  // it has what it waited for
    awaited->error = task.cancels().deliver();
    awaited->sleeper = &task;
    awaited->next = 0;
    awaited->accepted = false;
    awaited->on_path = true;
    return awaited;
  }
  if (w.response() == on_cancel::tell) {
    guard.unlock();
    auto& told = static_cast<told_waiter&>(w);
    told.tell(told);
  } else {
    withdraw(task, guard);
  }
  return nullptr;
}

bool is_on_path(task_state const& task) noexcept {
  return task.stage() == stage::suspended && task.waiter()->awaited() != nullptr && task.waiter()->awaited()->on_path;
}

// Directly or through others.
bool waits_for(task_state& task, task_state const& other) noexcept {
  wait_path path(task);
  do {
    auto const awaited = path.awaited();
    if (std::find(awaited.begin(), awaited.end(), &other) != awaited.end()) return true;
  } while (path.go_on());
  return false;
}

// Asks one more of the tasks; null: there are no more that concern this thread.
task_state* ask_next(awaited_tasks& awaited) noexcept {
  while (awaited.next < awaited.tasks.size()) {
    auto& task = *awaited.tasks[awaited.next++];
    if (is_here(task) && is_on_path(task)) continue;
    if (count(task, task.cancels().outermost(), awaited.error)) {
      awaited.accepted = true;
      if (is_here(task)) return &task;
    }
  }
  return nullptr;
}

// Returns the wait from which this one was reached.
awaited_tasks* leave(awaited_tasks& awaited) noexcept {
  awaited.on_path = false;
  if (awaited.accepted) {
    awaited.passed = true;
    return awaited.back;
  }
  // Nobody took it, so it stays with the sleeper. If all have just ended, its wait is over; else they wait for it.
  auto& task = *awaited.sleeper;
  std::unique_lock guard(task.lock());
  task.cancels().rearm(awaited.error);
  withdraw(task, guard);
  return awaited.back;
}

}  // namespace

void serve_request(task_state& first) noexcept {
  awaited_tasks* innermost = nullptr;
  for (auto* task = &first; task != nullptr;) {
    if (auto* const inwards = serve(*task)) {
      inwards->back = innermost;
      innermost = inwards;
    }
    task = nullptr;
    while (innermost != nullptr && (task = ask_next(*innermost)) == nullptr) innermost = leave(*innermost);
  }
}

bool request_cancel(task_state& task, cancelled_error error) noexcept {
  if (!count(task, task.cancels().outermost(), std::move(error))) return false;
  if (is_here(task)) serve_request(task);
  return true;
}

void request_cancel(task_state& task, cancel_frame& scope, cancelled_error error) noexcept {
  if (count(task, scope, std::move(error))) serve_request(task);
}

void request_end(task_state& task, task_state* owner, cancelled_error error) noexcept {
  if (owner == nullptr || !waits_for(task, *owner)) {
    request_cancel(task, std::move(error));
  } else if (count(task, task.cancels().outermost(), std::move(error))) {
    std::unique_lock guard(task.lock());
    if (may_be_thrown(task)) withdraw(task, guard);
  }
}

std::span<task_state* const> wait_path::awaited_by(task_state& task) noexcept {
  if (!is_here(task) || task.stage() != stage::suspended) return {};
  auto const* const awaited = task.waiter()->awaited();
  return awaited != nullptr ? awaited->tasks : std::span<task_state* const>();
}

bool wait_path::go_on() noexcept {
  auto const next = awaited();
  if (next.size() != 1) return false;
  step_ = next.front();
  if (step_ == slow_) return false;
  if (odd_) slow_ = awaited_by(*slow_).front();
  odd_ = !odd_;
  return true;
}

unsigned request_level(task_state& task) noexcept {
  std::scoped_lock const guard(task.lock());
  return task.cancels().level();
}

cancelled_error make_request(std::string_view message, cancel_origin::kind via,
                             boost::source_location const& place) noexcept try {
  auto* const here = loop::current();
  auto* const asker = here != nullptr ? here->running() : nullptr;
  return cancelled_error(
      std::string(message),
      {.via = via, .task = asker != nullptr ? asker->name() : std::string(), .place = place, .time = clock::now()});
} catch (std::bad_alloc const&) {
  return {};
}

}  // namespace fibers::detail
