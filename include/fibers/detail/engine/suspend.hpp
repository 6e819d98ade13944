// SPDX-License-Identifier: BSL-1.0
#pragma once

// The door: the only way out of a running fiber. Every wait comes through suspend(); yield_now() is the same with the
// claim made before.

#include <boost/assert/source_location.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/engine/waiter.hpp>

namespace fibers::detail {

/// The running task, or null: outside of a loop, or in a callback, which runs between tasks.
task_state* running_task() noexcept;

/// The running task; throws invalid_state_error, saying what to do, if there is none.
task_state& this_task_state(boost::source_location const& place);

/// What every function that may suspend does first: throws a pending request, if it can be thrown here. Returns the
/// running task. May suspend: a task that has done hundreds of operations which did not have to wait yields before the
/// next one. The caller therefore looks at the state of what it waits for only after this, and holds no spinlock.
task_state& enter(boost::source_location const& place);

/// The same for a function that suspends in any case.
task_state& enter_without_yield(boost::source_location const& place);

/// enter() for this_task::checkpoint(): yields more often.
void checkpoint(boost::source_location const& place);

/// Has this task, which is the running one, a request that enter() would throw?
bool has_request(task_state& task) noexcept;

/// Stops the running fiber until somebody has claimed `w` and woken it. Throws nothing, since the caller has to take
/// its waiter off all lists first; then it calls settle().
[[nodiscard]] claim suspend(waiter& w) noexcept;

/// The same for what comes from outside of the loop: another thread, the system. Until then nothing is a deadlock, and
/// virtual time passes as real time does.
[[nodiscard]] claim suspend_for_outside(waiter& w) noexcept;

/// Spends the request of a task whose wait was cancelled: the caller throws it.
[[nodiscard]] cancelled_error take_request(task_state& task) noexcept;
/// It stays pending instead: the caller returns, having found that it has what it waited for.
void put_request_back(task_state& task) noexcept;
[[noreturn]] void throw_lost_wait(task_state& task, claim how);

/// How a wait ended: throws the request if it was cancelled, deadlock_error if it was closed, invalid_state_error if
/// what it waited for is gone. A part of its caller, since each frame between a throw and its handler costs 130 ns, and
/// one with something to destroy 400 ns.
[[gnu::always_inline]] inline void settle(task_state& task, claim how) {
  if (how == claim::notified) [[likely]]
    return;
  if (how == claim::cancelled) throw take_request(task);
  throw_lost_wait(task, how);
}

/// Lets every task run that is ready now. Enters by itself.
void yield_now(boost::source_location const& place);

/// For who has claimed `w`: makes its task ready. The last touch: the waiter may be gone when this returns. Any thread.
void wake(waiter& w) noexcept;
inline void wake(wait_entry& entry) noexcept { wake(entry.sleeper); }

/// Enters a scope of the running task.
void enter_scope(task_state& task, cancel_scope& scope) noexcept;
/// Leaves it; see cancel_state::leave().
bool leave_scope(task_state& task, cancel_scope& scope) noexcept;

}  // namespace fibers::detail
