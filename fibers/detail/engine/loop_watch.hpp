// SPDX-License-Identifier: BSL-1.0
#pragma once

// Who looks on while a loop runs, or decides in its place: the test kit. Without any, a loop looks at an empty list.

#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list_hook.hpp>
#include <cstddef>

namespace fibers::detail {

class loop;
class task_state;

/// All on the loop's own thread. It lives as long as it is on the loop's list.
class loop_watch : public boost::intrusive::list_base_hook<> {
 public:
  /// The running task will now look for a request, and may then suspend. May make one.
  virtual void at_point(task_state&, boost::source_location const&) {}

  /// No task is ready: the loop is about to sleep, or to move its clock. Returns true if a task is ready now.
  virtual bool at_rest(loop&) { return false; }

  /// Main has ended; what is left will be cancelled.
  virtual void main_ended(loop&) {}

  /// All have ended.
  virtual void ended(loop&) {}

 protected:
  ~loop_watch() = default;
};

/// Asked, before each step, which comes next.
class step_chooser {
 public:
  /// Of so many, at least two: first those tasks that are ready, then the timers that are due, each in the usual order.
  virtual std::size_t choose(std::size_t count) = 0;

 protected:
  ~step_chooser() = default;
};

}  // namespace fibers::detail
