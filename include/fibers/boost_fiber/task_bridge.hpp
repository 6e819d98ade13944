// SPDX-License-Identifier: BSL-1.0
#pragma once

// Boost fibers wait for tasks. To cancel a task, a Boost fiber calls its cancel(), which is thread-safe.

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

/// Notifies a Boost fiber, once, that a task has ended.
class boost_notice {
 public:
  /// Returns an object whose last copy, when destroyed, notifies the Boost fiber.
  static std::shared_ptr<void> teller_of(std::shared_ptr<boost_notice> const& notice) {
    return {nullptr, [notice](void*) noexcept {
              notice->sleeper_.wake();
              notice->told_.store(true);
            }};
  }

  /// Waits for the notification. On return the notifying thread no longer uses this thread, which may end.
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

/// Waits until a task has ended. Does not throw the task's exception.
///
/// For Boost fibers of all threads: suspends the calling Boost fiber. Not a cancellation point. Thread-safe. Throws
/// invalid_state_error in a task, which calls the member function wait() of a handle instead, and in a callback.
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

/// Waits as wait() does. Returns a copy of the task's result, or throws its exception, as task_handle<T>::get().
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
