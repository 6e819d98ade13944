// SPDX-License-Identifier: BSL-1.0
#pragma once

// Every exception that this library throws, except exception_group. cancelled_error is not a std::exception on purpose:
// a handler for failures must not swallow a cancellation.
//
// The types have default visibility, also in a shared library that hides its symbols, so that one library can catch
// what another throws.

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

/// Where a cancellation came from.
struct cancel_origin {
  enum class kind : unsigned char {
    by_hand,     ///< cancel(), or a cancelled_error that the program threw
    timeout,     ///< a timeout's deadline passed
    task_group,  ///< a group that is going down
    gather,      ///< gather() whose siblings failed, or whose own task was cancelled
    race,        ///< race() has a winner
    owner,       ///< a task<T> was destroyed before the task had ended
    shutdown,    ///< run() is over
    signal,      ///< one of run_options::cancel_on_signals
  };

  kind via = kind::by_hand;
  std::string task = {};                            ///< the name of the requesting task; empty: none
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

  /// The message that was given to cancel().
  std::string const& message() const noexcept;
  cancel_origin const& origin() const noexcept;

  /// The message and the origin, for logs: "cancelled: too slow (by task 'main' at server.cpp:31)".
  char const* what() const noexcept;

  /// The cancelled task: its suspension point threw this error, or its get() forwarded the request. A
  /// default-constructed id if no suspension point threw the error. In a handler, this_task::is_own() is shorter.
  task_id of() const noexcept { return of_; }
  void of(task_id cancelled) noexcept { of_ = cancelled; }

  /// How many bytes the interrupted operation had transferred, if it reports them: see asio/use_fiber.hpp.
  std::size_t transferred() const noexcept { return transferred_; }
  void transferred(std::size_t bytes) noexcept { transferred_ = bytes; }

 private:
  struct record;
  std::shared_ptr<record const> record_;  // none: no message, and the origin is not known
  std::size_t transferred_ = 0;
  task_id of_;
};

/// A time limit has passed.
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

/// A signal of run_options::cancel_on_signals has ended run().
class [[gnu::visibility("default")]] interrupted_error : public std::runtime_error {
 public:
  explicit interrupted_error(int signal);
  int signal() const noexcept { return signal_; }

 private:
  int signal_;
};

/// A function was called in a state that does not allow it. The text says what to do instead.
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

/// The queue was shut down: it accepts no more items, and it is empty.
class [[gnu::visibility("default")]] queue_shut_down : public std::runtime_error {
 public:
  queue_shut_down() : runtime_error("the queue was shut down") {}
  using runtime_error::runtime_error;
};

/// The barrier was aborted, or reset while tasks were waiting.
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
