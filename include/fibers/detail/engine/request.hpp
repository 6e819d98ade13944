// SPDX-License-Identifier: BSL-1.0
#pragma once

// How a cancellation request reaches a task. The requesting thread records it at once. The task's own thread decides
// how to serve it, by what the task is doing:
//
//   suspended, answer::withdraw   the wait is claimed and withdrawn, and will throw the request
//   suspended, answer::forward    the request is forwarded to the awaited tasks; the wait continues
//   suspended, answer::told       the operation was asked to end; the wait continues, and the request stays pending
//   anything else                 the request stays pending until the next suspension point
//
// Next: scheduler.hpp.

#include <cstddef>
#include <cstdint>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <span>

namespace fibers::detail {

/// The tasks to which a wait forwards requests while it continues. Used on the waiting task's own thread.
struct awaited_tasks {
  std::span<task_state* const> tasks;
  bool forwarded = false;      ///< was a request forwarded?
  cancelled_error error = {};  ///< of the latest forwarded request

  // While a request is on its way inwards (request.cpp):
  task_state* sleeper = nullptr;
  std::uint32_t deliveries_before = 0;  // of the sleeper's requests
  awaited_tasks* back = nullptr;
  std::size_t next = 0;
  bool on_path = false;
  bool accepted = false;
};

/// A wait for other tasks.
class forwarding_waiter final : public waiter {
 public:
  forwarding_waiter(task_state& task, boost::source_location const& place, std::span<task_state* const> tasks) noexcept
      : waiter(task, place), awaited_{.tasks = tasks} {}

  answer on_cancel() noexcept override { return answer::forward; }
  awaited_tasks* awaited() noexcept override { return &awaited_; }

 private:
  awaited_tasks awaited_;
};

/// The wait of a destructor, for tasks that must end first.
class uncancellable_waiter final : public waiter {
 public:
  using waiter::waiter;
  answer on_cancel() noexcept override { return answer::keep; }
};

/// One act of cancelling. It asks each task once, however many paths lead to that task: its cost is linear in the tasks
/// that it reaches.
class cancel_round {
 public:
  cancel_round() noexcept;
  /// For an owner that waits for what it cancels. No request is forwarded to the owner: a task that waits for the
  /// owner, directly or through others, has its wait withdrawn instead, since the request would never reach it.
  explicit cancel_round(task_state* owner) noexcept : cancel_round() { owner_ = owner; }
  /// Continues the latest round that has reached this task.
  static cancel_round of(task_state& task) noexcept;

  std::uint64_t number() const noexcept { return number_; }
  task_state const* owner() const noexcept { return owner_; }

 private:
  explicit cancel_round(std::uint64_t number) noexcept : number_(number) {}

  std::uint64_t number_;
  task_state const* owner_ = nullptr;
};

/// A request from outside. Thread-safe. Returns false, and nothing has changed, if the task has ended.
bool request_cancel(task_state& task, cancelled_error error, cancel_round const& round = {}) noexcept;

/// A request of a scope of the task itself. On the task's own thread.
void request_cancel(task_state& task, cancel_scope& scope, cancelled_error error) noexcept;

/// The path from a task along the awaited tasks, on this thread's loop. Tasks may wait in a cycle that does not lead
/// back to the first one: a second step goes half as fast, and meets the first step in the cycle.
class wait_path {
 public:
  explicit wait_path(task_state& first) noexcept : step_(&first), slow_(&first) {}

  task_state& task() const noexcept { return *step_; }
  /// The tasks to which its wait forwards requests. Empty if it forwards none, or is on another loop.
  std::span<task_state* const> awaited() const noexcept { return awaited_by(*step_); }
  /// Goes to the only awaited task. Returns false if there is none, if there are several, or in a cycle.
  bool go_on() noexcept;

 private:
  static std::span<task_state* const> awaited_by(task_state& task) noexcept;

  task_state* step_;
  task_state* slow_;
  bool odd_ = false;
};

/// Would enter() throw a request of this task, which is the running one?
bool has_deliverable_request(task_state& task) noexcept;

/// Makes a reserved request pending again, since the wait had completed after all.
void put_requests_back(task_state& task) noexcept;

/// Enters a scope of the running task.
void enter_scope(task_state& task, cancel_scope& scope) noexcept;
/// Leaves it; see cancel_state::leave().
bool leave_scope_slowly(task_state& task, cancel_scope& scope) noexcept;
inline bool leave_scope(task_state& task, cancel_scope& scope) noexcept {
  return task.cancels().leave_quietly(scope) || leave_scope_slowly(task, scope);
}

/// Withdraws the wait, forwards, or leaves the request pending. On the task's own thread, while the task does not run.
void serve_request(task_state& task, cancel_round const& round) noexcept;

/// Stops the tokens whose scopes have a request that can be delivered. Calls their callbacks.
void stop_tokens(task_state& task) noexcept;

/// A request with this message and call site, made by the running task. If memory is exhausted it has neither, since
/// a request must not be lost.
cancelled_error make_request(std::string_view message, cancel_origin::kind via,
                             boost::source_location const& place) noexcept;

}  // namespace fibers::detail
