// SPDX-License-Identifier: BSL-1.0

// A request is forwarded to the awaited tasks depth first, and iteratively, since a chain may be of any length: the
// waits along the path store the way back. One round asks each task once. A task asked before, on another path, has
// accepted the request. A task on the current path has not: it is skipped, and a task that waits only for such tasks
// has its wait withdrawn, so that a request gets out of a cycle, too. Breadth first does not work: a task's answer is
// known only after all tasks that it awaits were asked.

#include <atomic>
#include <fibers/detail/engine/request.hpp>
#include <mutex>
#include <stop_token>
#include <utility>

#include "loop.hpp"

namespace fibers::detail {

namespace {

constinit std::atomic<std::uint64_t> rounds = 0;

bool is_here(task_state const& task) noexcept { return &task.loop() == loop::current(); }

enum class reply : std::uint8_t { ended, asked_before, accepted };

reply ask(task_state& task, cancel_scope& scope, cancelled_error&& error, cancel_round const& round) noexcept {
  auto* const here = loop::current();
  bool has_tokens = false;
  {
    std::scoped_lock const guard(task.lock());
    if (task.finished()) return reply::ended;
    auto& requests = task.cancels();
    if (std::exchange(requests.round, round.number()) == round.number()) return reply::asked_before;
    requests.post(scope, std::move(error), here != nullptr && here->running() == &task);
    // Under the lock, since the loop lives as long as the task has not ended.
    if (&task.loop() != here) task.loop().post(task, inbox_entry::requested);
    has_tokens = requests.has_tokens();
  }
  if (has_tokens) stop_tokens(task);
  return reply::accepted;
}

// Ends the task's wait, unless another party has claimed it: the task will throw the request. `guard` is its lock.
void withdraw(task_state& task, std::unique_lock<spinlock>& guard) noexcept {
  auto& w = *task.waiter();
  if (!w.try_claim(claim::cancelled)) return;
  task.cancels().reserve();
  guard.unlock();
  w.withdraw();
  task.loop().make_ready(task);
}

// Serves pending requests. Returns the tasks to which the request must be forwarded, or null.
awaited_tasks* serve(task_state& task) noexcept {
  if (task.stage() != stage::suspended) return nullptr;
  auto& w = *task.waiter();
  std::unique_lock guard(task.lock());
  auto& requests = task.cancels();
  if (!requests.deliverable(w.unwinding())) return nullptr;
  guard.unlock();
  auto const what = w.on_cancel();  // may call unknown code
  if (what == answer::told || what == answer::keep) return nullptr;
  guard.lock();
  if (what == answer::withdraw) {
    withdraw(task, guard);
    return nullptr;
  }

  if (w.claimed() != claim::none) return nullptr;  // the wait has completed
  auto* const awaited = w.awaited();
  awaited->deliveries_before = requests.deliveries();
  awaited->error = requests.deliver(w.unwinding());
  awaited->sleeper = &task;
  awaited->next = 0;
  awaited->accepted = false;
  awaited->on_path = true;
  return awaited;
}

bool is_on_path(task_state const& task) noexcept {
  return is_here(task) && task.stage() == stage::suspended && task.waiter()->awaited() != nullptr &&
         task.waiter()->awaited()->on_path;
}

// Asks the next tasks, up to one that must be served on this thread, and returns it. Null: there is none left.
task_state* ask_next(awaited_tasks& awaited, cancel_round const& round) noexcept {
  while (awaited.next < awaited.tasks.size()) {
    auto& task = *awaited.tasks[awaited.next++];
    if (&task == round.owner() || is_on_path(task)) continue;
    auto const answer = ask(task, task.cancels().outermost(), cancelled_error(awaited.error), round);
    if (answer == reply::ended) continue;
    awaited.accepted = true;
    if (answer == reply::accepted && is_here(task)) return &task;
  }
  return nullptr;
}

// Returns the wait from which this one was reached.
awaited_tasks* leave(awaited_tasks& awaited) noexcept {
  awaited.on_path = false;
  if (awaited.accepted) {
    awaited.forwarded = true;
    return awaited.back;
  }
  // No task accepted the request, so it stays here. Either all tasks and the wait have ended, or they await this task.
  auto& task = *awaited.sleeper;
  std::unique_lock guard(task.lock());
  task.cancels().restore(awaited.deliveries_before);
  withdraw(task, guard);
  return awaited.back;
}

}  // namespace

cancel_round::cancel_round() noexcept {
  if (single_threaded()) {
    number_ = rounds.load(std::memory_order_relaxed) + 1;
    rounds.store(number_, std::memory_order_relaxed);
  } else {
    number_ = rounds.fetch_add(1, std::memory_order_relaxed) + 1;
  }
}

cancel_round cancel_round::of(task_state& task) noexcept {
  std::scoped_lock const guard(task.lock());
  return cancel_round(task.cancels().round);
}

void serve_request(task_state& first, cancel_round const& round) noexcept {
  awaited_tasks* innermost = nullptr;
  for (auto* task = &first; task != nullptr;) {
    if (auto* const inwards = serve(*task)) {
      inwards->back = innermost;
      innermost = inwards;
    }
    task = nullptr;
    while (innermost != nullptr && (task = ask_next(*innermost, round)) == nullptr) innermost = leave(*innermost);
  }
}

bool request_cancel(task_state& task, cancelled_error error, cancel_round const& round) noexcept {
  auto const answer = ask(task, task.cancels().outermost(), std::move(error), round);
  if (answer == reply::accepted && is_here(task)) serve_request(task, round);
  return answer != reply::ended;
}

void request_cancel(task_state& task, cancel_scope& scope, cancelled_error error) noexcept {
  cancel_round const round;
  if (ask(task, scope, std::move(error), round) == reply::accepted) serve_request(task, round);
}

void stop_tokens(task_state& task) noexcept {
  for (;;) {
    std::unique_lock guard(task.lock());
    auto source = task.cancels().next_to_stop();
    guard.unlock();
    if (!source.stop_possible()) return;
    source.request_stop();  // calls unknown code
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
