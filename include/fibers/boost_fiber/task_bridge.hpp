// SPDX-License-Identifier: BSL-1.0
#pragma once

// Boost fibers wait for tasks. To cancel one they need nothing of this: cancel() is for every thread.

#include <atomic>
#include <boost/assert/source_location.hpp>
#include <boost/fiber/operations.hpp>
#include <fibers/boost_fiber/host.hpp>
#include <fibers/clock.hpp>
#include <fibers/error.hpp>
#include <fibers/task.hpp>
#include <memory>
#include <string>

namespace fibers {

namespace detail {

/// Tells a Boost fiber, once, that a task has ended.
class boost_notice {
 public:
  /// Told when the last copy of what this returns goes.
  static std::shared_ptr<void> teller_of(std::shared_ptr<boost_notice> const& notice) {
    return {nullptr, [notice](void*) noexcept {
              notice->sleeper_.wake();
              notice->told_.store(true);
            }};
  }

  /// Returns when the notifying thread has finished with it: this thread may end then.
  void wait() {
    sleeper_.sleep(time_point::max());
    while (!told_.load()) boost::this_fiber::yield();
  }

 private:
  boost_sleeper sleeper_;
  std::atomic<bool> told_ = false;
};

}  // namespace detail

namespace boost_fiber {

/// Waits for the end of a task, whatever it is, and throws nothing of it. For Boost fibers of any thread, the one of
/// the task's loop or another: stops the calling one. A task waits by the function of this name that its handle has.
inline void wait(fibers::detail::task_base const& task, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (fibers::detail::loop_is_here()) {
    throw invalid_state_error("fibers: boost_fiber::wait() and get() of a task are for Boost fibers, and this is " +
                              std::string(fibers::detail::running_task() != nullptr
                                              ? "a task: call the task's own wait() or get()"
                                              : "a callback, which must not wait") +
                              " (" + fibers::detail::to_string(place) + ")");
  }
  auto const notice = std::make_shared<fibers::detail::boost_notice>();
  task.on_done([teller = fibers::detail::boost_notice::teller_of(notice)] {});
  notice->wait();
}

/// wait(), and then the result, or what left the task: of a handle a copy, as its own get() gives.
template <class T>
T get(task_handle<T> const& task, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  wait(task, place);
  return fibers::detail::task_access::fetch(task, *fibers::detail::task_access::state(task));
}
inline void get(task_handle<> const& task, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  wait(task, place);
  fibers::detail::task_access::fetch(task, *fibers::detail::task_access::state(task));
}

}  // namespace boost_fiber

}  // namespace fibers
