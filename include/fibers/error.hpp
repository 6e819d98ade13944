// SPDX-License-Identifier: BSL-1.0
#pragma once

// Every exception that this library throws, except exception_group. cancelled_error is not a std::exception on purpose:
// a handler for failures must not swallow a cancellation.
//
// The types have default visibility, even in a shared library that hides its symbols, so that one library can catch the
// exceptions of another.

#include <boost/assert/source_location.hpp>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <fibers/detail/parts/cxx20.hpp>
#include <memory>
#include <stdexcept>
#include <string>

namespace fibers {

/// Identifies a task. Values grow in the order in which tasks of one loop are spawned, and are never reused. No task
/// has the default-constructed value.
struct task_id {
  std::uint64_t value = 0;
  friend auto operator<=>(task_id, task_id) = default;
};

/// The origin of a cancellation.
struct cancel_origin {
  enum class kind : unsigned char {
    by_hand,     ///< cancel(), or a cancelled_error that the program threw
    timeout,     ///< a timeout's deadline passed
    task_group,  ///< a group that is going down
    gather,      ///< gather() whose siblings failed, or whose own task was cancelled
    race,        ///< a race() that has a winner
    owner,       ///< a task<T> was destroyed before the task had ended
    shutdown,    ///< run() is over
    signal,      ///< one of run_options::cancel_on_signals
  };

  kind via = kind::by_hand;
  std::string task = {};                            ///< the name of the requesting task; empty if there was none
  boost::source_location place = {};                ///< the call site of the request
  std::chrono::steady_clock::time_point time = {};  ///< by the clock of the requesting loop
};

/// Thrown by a suspension point of a task that was cancelled. Catch it to clean up, then rethrow it with `throw;`.
///
/// It is not a std::exception. Copying it does not allocate and does not throw.
class [[gnu::visibility("default")]] cancelled_error final {
 public:
  cancelled_error() noexcept = default;
  explicit cancelled_error(std::string message, cancel_origin origin = {});

  /// Returns the message of cancel().
  std::string const& message() const noexcept;
  cancel_origin const& origin() const noexcept;

  /// Returns the message and the origin, for logs: "cancelled: too slow (by task 'main' at server.cpp:31)".
  char const* what() const noexcept;

  /// Returns the cancelled task: the one whose suspension point threw this error, or whose get() forwarded the request.
  /// Returns a default-constructed id if no suspension point threw the error. See also this_task::is_own().
  task_id of() const noexcept { return of_; }
  void of(task_id cancelled) noexcept { of_ = cancelled; }

  /// Returns the number of bytes that the interrupted operation had transferred, if the operation reports it: see
  /// asio/use_fiber.hpp.
  std::size_t transferred() const noexcept { return transferred_; }
  void transferred(std::size_t bytes) noexcept { transferred_ = bytes; }

 private:
  struct record;
  std::shared_ptr<record const> record_;  // null: no message, and an unknown origin
  std::size_t transferred_ = 0;
  task_id of_;
};

/// Thrown if a time limit has interrupted an operation.
class [[gnu::visibility("default")]] timeout_error : public std::runtime_error {
 public:
  timeout_error() : runtime_error("timed out") {}
  using runtime_error::runtime_error;

  /// As cancelled_error::transferred(), for the operation that the limit interrupted.
  std::size_t transferred() const noexcept { return transferred_; }
  void transferred(std::size_t bytes) noexcept { transferred_ = bytes; }

 private:
  std::size_t transferred_ = 0;
};

/// Thrown by run() if a signal of run_options::cancel_on_signals has ended it.
class [[gnu::visibility("default")]] interrupted_error : public std::runtime_error {
 public:
  explicit interrupted_error(int signal);
  int signal() const noexcept { return signal_; }

 private:
  int signal_;
};

/// Thrown by a function that was called in a state that does not allow it. The text says what to do instead.
class [[gnu::visibility("default")]] invalid_state_error : public std::logic_error {
 public:
  using logic_error::logic_error;
};

/// Thrown in virtual time if no task can ever run again. The text lists the waiting tasks and their call sites.
class [[gnu::visibility("default")]] deadlock_error : public std::runtime_error {
 public:
  using runtime_error::runtime_error;
};

/// Thrown by queue::put_nowait() if the queue is full.
class [[gnu::visibility("default")]] queue_full : public std::runtime_error {
 public:
  queue_full() : runtime_error("the queue is full") {}
  using runtime_error::runtime_error;
};

/// Thrown by queue::get_nowait() if the queue is empty.
class [[gnu::visibility("default")]] queue_empty : public std::runtime_error {
 public:
  queue_empty() : runtime_error("the queue is empty") {}
  using runtime_error::runtime_error;
};

/// Thrown by a queue that was shut down: by put() always, by get() once the queue is empty.
class [[gnu::visibility("default")]] queue_shut_down : public std::runtime_error {
 public:
  queue_shut_down() : runtime_error("the queue was shut down") {}
  using runtime_error::runtime_error;
};

/// Thrown to the waiters of a barrier that was aborted or reset, and by a barrier that is broken.
class [[gnu::visibility("default")]] broken_barrier_error : public std::runtime_error {
 public:
  broken_barrier_error() : runtime_error("the barrier is broken") {}
  using runtime_error::runtime_error;
};

namespace detail {
/// Returns "file.cpp:12", without the folders.
std::string to_string(boost::source_location const& place);
}  // namespace detail

}  // namespace fibers
