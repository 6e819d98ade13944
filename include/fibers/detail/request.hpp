// SPDX-License-Identifier: BSL-1.0
#pragma once

// How a request to cancel reaches a task: it is counted at once, by whoever makes it; what comes of it is decided on
// the task's own thread, by what the task is doing.
//
//   it sleeps in a wait that can be withdrawn   the wait is claimed, and will throw the request
//   it waits for other tasks (get, gather)      the request is passed on to them, and so inwards; the wait goes on
//   it waits for an operation (asio)            that is asked to end; the wait goes on, and the request stays pending
//   anything else                               the request stays pending for the next suspension point

#include <fibers/detail/task_state.hpp>
#include <span>

namespace fibers::detail {

/// From outside. Any thread. False, and nothing has changed, if the task has ended.
bool request_cancel(task_state& task, cancelled_error error) noexcept;

/// From a scope of the task itself, entered in this frame. The task's own thread.
void request_cancel(task_state& task, cancel_frame& scope, cancelled_error error) noexcept;

/// From the owner, which waits for the task from now on and cannot be cut short. If the task waits for the owner,
/// directly or through others, it would never learn of a request that is passed on: then its wait is withdrawn.
void request_end(task_state& task, task_state* owner, cancelled_error error) noexcept;

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

/// What a scope that the task enters now measures itself against. Other threads may just be counting their requests.
unsigned request_level(task_state& task) noexcept;

/// Decides about what is pending. The task's own thread; it is not running.
void serve_request(task_state& task) noexcept;

/// The message and the place, with the running task as the one who asks. Where there is no memory for that, a request
/// comes without: it must not be lost.
cancelled_error make_request(std::string_view message, cancel_origin::kind via,
                             boost::source_location const& place) noexcept;

}  // namespace fibers::detail
