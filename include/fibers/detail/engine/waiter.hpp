// SPDX-License-Identifier: BSL-1.0
#pragma once

// One wait of one task. It lives on the waiting task's stack, from before another party can find it until the task runs
// again.
//
//   armed --claim--> notified | cancelled | closed | destroyed
//
// Several parties may want to end a wait: the one that has what the task waits for, a timer, a canceller, a destructor.
// Each tries to claim it, and exactly one succeeds; the others change nothing. The claimer takes the waiter off
// everything in which it is linked, and then calls wake() exactly once, as its last touch. The woken task therefore
// touches nothing of what it waited for, and a party that comes late never finds a destroyed waiter.
//
// Next: wait_list.hpp.

#include <boost/assert/source_location.hpp>
#include <cstdint>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/spinlock.hpp>

namespace fibers::detail {

class task_state;
struct awaited_tasks;

enum class claim : std::uint8_t {
  none,       ///< armed
  notified,   ///< what the task waited for has come
  cancelled,  ///< a cancellation request was delivered to the wait
  closed,     ///< nothing can end the wait any more (a deadlock)
  destroyed,  ///< what the task waited for was destroyed
};

/// What a wait does with a cancellation request.
enum class answer : std::uint8_t {
  withdraw,  ///< it ends, and throws the request
  forward,   ///< it continues; the request is forwarded to the awaited tasks: awaited()
  told,      ///< it continues, and the request stays pending; the awaited operation has been asked to end
  keep,      ///< it continues, and the request stays pending: a destructor waits for tasks that must end first
};

class waiter {
 public:
  /// Of the running task, which is the one to be woken. `place` must live as long.
  waiter(task_state& task, boost::source_location const& place) noexcept : task_(task), place_(place) {}
  waiter(waiter const&) = delete;
  waiter& operator=(waiter const&) = delete;

  /// Returns true to exactly one caller, which then owes the task a wake(). Thread-safe.
  [[nodiscard]] bool try_claim(claim reason) noexcept {
    if (single_threaded()) {
      if (claim_.load(std::memory_order_relaxed) != claim::none) return false;
      claim_.store(reason, std::memory_order_relaxed);
      return true;
    }
    claim none = claim::none;
    return claim_.compare_exchange_strong(none, reason);
  }
  claim claimed() const noexcept { return claim_.load(std::memory_order_relaxed); }

  /// Answers a request that can be delivered. Called on the task's own thread while it is suspended, without locks.
  virtual answer on_cancel() noexcept { return answer::withdraw; }
  /// For answer::forward.
  virtual awaited_tasks* awaited() noexcept { return nullptr; }

  /// Takes the waiter off everything in which it is linked. Called by the claimer, without locks, before wake().
  virtual void withdraw() noexcept {}
  /// Does a claimer that has taken it off one list have to call withdraw() for others?
  bool is_in_several_lists() const noexcept { return several_; }

  task_state& task() const noexcept { return task_; }
  boost::source_location const& place() const noexcept { return place_; }

  /// How many exceptions unwind the task's stack. Only a request of a scope that was entered since ends the wait.
  unsigned unwinding() const noexcept { return unwinding_; }
  void unwinding(unsigned exceptions) noexcept { unwinding_ = exceptions; }

 protected:
  enum class lists : bool { one, several };
  waiter(task_state& task, boost::source_location const& place, lists in) noexcept
      : task_(task), place_(place), several_(in == lists::several) {}
  ~waiter() = default;

 private:
  task_state& task_;
  boost::source_location const& place_;
  unsigned unwinding_ = 0;
  atomic<claim> claim_ = claim::none;
  bool const several_ = false;
};

/// A wait that is linked in nothing, or whose task takes it off itself after the wake.
class plain_waiter final : public waiter {
 public:
  using waiter::waiter;
};

}  // namespace fibers::detail
