// SPDX-License-Identifier: BSL-1.0
#pragma once

// Every exception this library throws, save exception_group. cancelled_error stands apart on purpose: it is no
// std::exception, so that a handler for failures does not swallow a cancellation.
//
// They are visible in every shared library, also in one that hides its symbols: so what one throws another can catch.

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

/// Identifies a task; grows in the order in which one loop's tasks were spawned, and is never used twice. No task has a
/// default-constructed one.
struct task_id {
  std::uint64_t value = 0;
  friend auto operator<=>(task_id, task_id) = default;
};

/// Where a cancellation came from.
struct cancel_origin {
  enum class kind : unsigned char {
    by_hand,     ///< cancel(), or a cancelled_error somebody threw
    timeout,     ///< a timeout's deadline passed
    task_group,  ///< a group that is going down
    gather,      ///< gather() whose siblings failed, or whose own task was cancelled
    race,        ///< race() has a winner
    owner,       ///< a task<T> was destroyed before the task had ended
    shutdown,    ///< run() is over
    signal,      ///< one of run_options::cancel_on_signals
  };

  kind via = kind::by_hand;
  std::string task = {};                            ///< the name of the task that asked; empty: none
  boost::source_location place = {};                ///< where it asked
  std::chrono::steady_clock::time_point time = {};  ///< when, by the clock of the loop that asked
};

/// Thrown out of a suspension point of a task that was cancelled. Catch it to clean up, then `throw;`.
/// No std::exception. Copying it is cheap and cannot fail.
class [[gnu::visibility("default")]] cancelled_error final {
 public:
  cancelled_error() noexcept = default;
  explicit cancelled_error(std::string message, cancel_origin origin = {});

  /// What was given to cancel().
  std::string const& message() const noexcept;
  cancel_origin const& origin() const noexcept;

  /// The message and the origin, for a log: "cancelled: too slow (by task 'main' at server.cpp:31)".
  char const* what() const noexcept;

  /// The task that was cancelled: the one whose suspension point threw this, or whose get() had forwarded its request.
  /// A default-constructed id if no suspension point threw it. In a handler this_task::is_own() is shorter.
  task_id of() const noexcept { return of_; }
  void of(task_id cancelled) noexcept { of_ = cancelled; }

  /// How many bytes the operation that was cut short had moved by then, if it says so: see asio/use_fiber.hpp.
  std::size_t transferred() const noexcept { return transferred_; }
  void transferred(std::size_t bytes) noexcept { transferred_ = bytes; }

 private:
  struct record;
  std::shared_ptr<record const> record_;  // none: no message, and the origin is not known
  std::size_t transferred_ = 0;
  task_id of_;
};

/// A time limit passed.
class [[gnu::visibility("default")]] timeout_error : public std::runtime_error {
 public:
  timeout_error() : runtime_error("timed out") {}
  using runtime_error::runtime_error;

  /// As cancelled_error::transferred(), of the operation that the limit cut short.
  std::size_t transferred() const noexcept { return transferred_; }
  void transferred(std::size_t bytes) noexcept { transferred_ = bytes; }

 private:
  std::size_t transferred_ = 0;
};

/// A signal of run_options::cancel_on_signals ended run().
class [[gnu::visibility("default")]] interrupted_error : public std::runtime_error {
 public:
  explicit interrupted_error(int signal);
  int signal() const noexcept { return signal_; }

 private:
  int signal_;
};

/// Something was used in a way that its state does not allow. The text says what to do instead.
class [[gnu::visibility("default")]] invalid_state_error : public std::logic_error {
 public:
  using logic_error::logic_error;
};

/// In virtual time: nothing can ever run again. The text says who waits, and where.
class [[gnu::visibility("default")]] deadlock_error : public std::runtime_error {
 public:
  using runtime_error::runtime_error;
};

/// queue::try_put on a full queue would have to wait; thrown where no other answer is possible.
class [[gnu::visibility("default")]] queue_full : public std::runtime_error {
 public:
  queue_full() : runtime_error("the queue is full") {}
  using runtime_error::runtime_error;
};

/// An item was asked for, without waiting, of an empty queue.
class [[gnu::visibility("default")]] queue_empty : public std::runtime_error {
 public:
  queue_empty() : runtime_error("the queue is empty") {}
  using runtime_error::runtime_error;
};

/// The queue was shut down: nothing goes in any more, and what was in it is gone.
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
/// "file.cpp:12", without the folders.
std::string to_string(boost::source_location const& place);
}  // namespace detail

}  // namespace fibers
