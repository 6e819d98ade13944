// SPDX-License-Identifier: BSL-1.0
#pragma once

// How a request to cancel reaches a task: it is counted at once, by whoever makes it; what comes of it is decided on
// the task's own thread, by what the task is doing.
//
//   it sleeps in a wait that can be withdrawn   the wait is claimed, and will throw the request
//   it waits for other tasks (get, gather)      the request is passed on to them, and so inwards; the wait goes on
//   it waits for an operation (asio)            that is asked to end; the wait goes on, and the request stays pending
//   anything else                               the request stays pending for the next suspension point

#include <cstddef>
#include <cstdint>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <span>

namespace fibers::detail {

/// The tasks to which a wait forwards requests while it goes on. Used on the waiting task's own thread.
struct awaited_tasks {
  std::span<task_state* const> tasks;
  bool forwarded = false;      ///< was a request forwarded?
  cancelled_error error = {};  ///< the latest that was

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

/// The wait of a destructor, for what must end first.
class uncancellable_waiter final : public waiter {
 public:
  using waiter::waiter;
  answer on_cancel() noexcept override { return answer::keep; }
};

/// One act of cancelling. It asks each task once, however many ways lead to that task, so that its cost is linear in
/// the tasks that it reaches.
class cancel_round {
 public:
  cancel_round() noexcept;
  /// For an owner that waits for what it cancels. A request is not forwarded to the owner: a task that waits for the
  /// owner, directly or through others, has its wait withdrawn instead, since it would never learn of the request.
  explicit cancel_round(task_state* owner) noexcept : cancel_round() { owner_ = owner; }
  /// Continues the latest one that has reached this task.
  static cancel_round of(task_state& task) noexcept;

  std::uint64_t number() const noexcept { return number_; }
  task_state const* owner() const noexcept { return owner_; }

 private:
  explicit cancel_round(std::uint64_t number) noexcept : number_(number) {}

  std::uint64_t number_;
  task_state const* owner_ = nullptr;
};

/// From outside. Thread-safe. Returns false, and nothing has changed, if the task has ended.
bool request_cancel(task_state& task, cancelled_error error, cancel_round const& round = {}) noexcept;

/// From a scope of the task itself. The task's own thread.
void request_cancel(task_state& task, cancel_scope& scope, cancelled_error error) noexcept;

/// The way from a task along what it waits for. Any may wait in a circle that does not lead back to the first: so a
/// second step goes half as fast, and meets the first one in there. Tasks of this thread's loop.
class wait_path {
 public:
  explicit wait_path(task_state& first) noexcept : step_(&first), slow_(&first) {}

  task_state& task() const noexcept { return *step_; }
  /// The tasks to which its wait passes requests on; none if it does no such thing, or is another loop's.
  std::span<task_state* const> awaited() const noexcept { return awaited_by(*step_); }
  /// To the only one of these. False: there is none, or there are several, or the way goes in a circle.
  bool go_on() noexcept;

 private:
  static std::span<task_state* const> awaited_by(task_state& task) noexcept;

  task_state* step_;
  task_state* slow_;
  bool odd_ = false;
};

/// Would enter() throw a request of this task, which is the running one?
bool has_request(task_state& task) noexcept;

/// After take_request(): the request stays pending, since the wait had completed after all.
void put_request_back(task_state& task) noexcept;

/// Enters a scope of the running task.
void enter_scope(task_state& task, cancel_scope& scope) noexcept;
/// Leaves it; see cancel_state::leave().
bool leave_scope(task_state& task, cancel_scope& scope) noexcept;

/// Decides about what is pending. The task's own thread; it is not running.
void serve_request(task_state& task, cancel_round const& round) noexcept;

/// Stops the tokens whose scope has a request that can be delivered. Their callbacks run here.
void stop_tokens(task_state& task) noexcept;

/// The message and the place, with the running task as the one who asks. Where there is no memory for that, a request
/// comes without: it must not be lost.
cancelled_error make_request(std::string_view message, cancel_origin::kind via,
                             boost::source_location const& place) noexcept;

}  // namespace fibers::detail
