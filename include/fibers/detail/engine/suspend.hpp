// SPDX-License-Identifier: BSL-1.0
#pragma once

// The suspension primitive: the only way out of a running task. Every wait comes through suspend(); yield_now() is the
// same without a wait.
//
// A function that may suspend calls enter() first, and reads the state of the awaited object only after it:
//
//   auto& self = enter(place);          // a pending cancellation is thrown here
//   std::unique_lock guard(lock_);
//   if (ready_) return;
//   simple_waiter<> w(self, place, waiters_);
//   w.wait(guard);                      // links, unlocks, suspends; throws if it was cancelled
//
// Next: request.hpp.

#include <boost/assert/source_location.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/error.hpp>

namespace fibers::detail {

struct cancel_scope;

/// The running task. Returns null outside of a loop, and in a callback, which runs between tasks.
task_state* running_task() noexcept;

/// The running task. Throws invalid_state_error with advice if there is none.
task_state& this_task_state(boost::source_location const& place);

/// Throws a pending cancellation that can be delivered here. Returns the running task.
///
/// May suspend: a task that has done hundreds of operations which did not have to wait yields before the next one.
/// Precondition: the caller holds no spinlock.
task_state& enter(boost::source_location const& place);

/// As enter(), for a function that suspends in any case. Does not suspend.
task_state& enter_without_yield(boost::source_location const& place);

/// As enter(), for this_task::checkpoint(): yields more often.
void checkpoint(boost::source_location const& place);

/// Suspends the running task until `w`, which is its own, was claimed and woken. Returns the claim. Does not throw.
[[nodiscard]] claim suspend(waiter& w) noexcept;

/// While it lives, the task waits for something outside of its loop: another thread, the system. Until then nothing is
/// a deadlock, and virtual time passes as real time does.
class outside_wait {
 public:
  explicit outside_wait(task_state& task) noexcept;
  outside_wait(outside_wait const&) = delete;
  outside_wait& operator=(outside_wait const&) = delete;
  ~outside_wait();

 private:
  task_state& task_;
};

/// Delivers the pending cancellations of a task whose wait was cancelled. The caller must throw the result.
[[nodiscard]] cancelled_error deliver_requests(task_state& task) noexcept;
[[noreturn]] void throw_lost_wait(task_state& task, claim how);

/// Throws unless the wait was notified: cancelled_error, deadlock_error, or invalid_state_error if the awaited object
/// was destroyed. Inlined into its caller, since each frame between a throw and its handler costs 130 ns, and one with
/// something to destroy 400 ns.
[[gnu::always_inline]] inline void settle(task_state& task, claim how) {
  if (how == claim::notified) [[likely]]
    return;
  if (how == claim::cancelled) throw deliver_requests(task);
  throw_lost_wait(task, how);
}

/// Yields to all tasks that are ready now. A cancellation point of its own.
void yield_now(boost::source_location const& place);

/// Makes the task of a claimed waiter ready. The last touch: the waiter may be destroyed on return. Thread-safe.
void wake(waiter& w) noexcept;

}  // namespace fibers::detail
