// SPDX-License-Identifier: BSL-1.0
#pragma once

// The test kit's observers of a loop, and its source of scheduling decisions. Without them a loop checks an empty list.

#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list_hook.hpp>
#include <cstddef>

namespace fibers::detail {

class loop;
class task_state;

/// Called on the loop's own thread. It must outlive its place in the loop's list.
class loop_watch : public boost::intrusive::list_base_hook<> {
 public:
  /// The running task is at a cancellation point, before pending requests are delivered. May request a cancellation.
  virtual void at_point(task_state&, boost::source_location const&) {}

  /// No task is ready; the loop will park, or its clock move. Returns true if it has made a task ready.
  virtual bool at_rest(loop&) { return false; }

  /// Main has ended; the remaining tasks are cancelled next.
  virtual void main_ended(loop&) {}

  /// All tasks have ended.
  virtual void ended(loop&) {}

 protected:
  ~loop_watch() = default;
};

/// Decides, before each step, which task or timer comes next.
class step_chooser {
 public:
  /// Returns the index of one of at least 2 steps: the ready tasks, then the due timers, each in the usual order.
  virtual std::size_t choose(std::size_t count) = 0;

 protected:
  ~step_chooser() = default;
};

}  // namespace fibers::detail
