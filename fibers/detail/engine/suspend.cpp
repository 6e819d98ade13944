// SPDX-License-Identifier: BSL-1.0

#include <boost/assert.hpp>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/error.hpp>
#include <mutex>

#include "scheduler.hpp"

namespace fibers::detail {

namespace {

[[gnu::noinline, gnu::cold]] void throw_slowly(task_state& task) {
  if (has_deliverable_request(task)) throw deliver_requests(task);
}

// The lock and the throw are in a function of their own: inlined, they take registers from the switch.
[[gnu::always_inline]] inline void throw_deliverable(task_state& task) {
  if (task.cancels().deliverable()) [[unlikely]]
    throw_slowly(task);
}

[[gnu::noinline, gnu::cold]] void tell_watches(task_state& task, boost::source_location const& place) {
  for (auto& watch : task.loop().watches()) watch.at_point(task, place);
}

void yield(task_state& task, scheduler& loop) {
  loop.make_ready(task, stage::running);
  loop.hand_over(task);
}

// Yields through a turn of the loop, which polls timers, signals and the inbox even if no other task is ready. A
// cancellation point of its own: requests that arrive meanwhile are delivered here.
void yield_through_loop(task_state& task, boost::source_location const& place) {
  auto& loop = scheduler::here();
  loop.end_turn();
  yield(task, loop);
  if (!loop.watches().empty()) tell_watches(task, place);
  throw_deliverable(task);
}

// The slow path of enter(), as one tail call, so that the fast path saves no registers. Locking and unlocking an
// uncontended mutex takes 110 instructions including its part of the yields, and 106 without them.
[[gnu::noinline, gnu::cold]] task_state& enter_slowly(task_state& task, boost::source_location const& place,
                                                      bool yields) {
  if (!scheduler::here().watches().empty()) tell_watches(task, place);
  throw_deliverable(task);
  if (yields) yield_through_loop(task, place);
  return task;
}

[[gnu::always_inline]] inline task_state& enter_fast(task_state& task, boost::source_location const& place,
                                                     bool yields) {
  if (!yields && !task.cancels().deliverable() && scheduler::here().watches().empty()) [[likely]]
    return task;
  return enter_slowly(task, place, yields);
}

[[noreturn, gnu::noinline]] void throw_no_task(boost::source_location const& place) {
  throw invalid_state_error(
      std::string(scheduler::current() == nullptr
                      ? "fibers: this needs a running task: call it inside of fibers::run([] { … })"
                      : "fibers: this needs a running task: a callback runs between tasks; spawn one in it") +
      " (" + to_string(place) + ")");
}

}  // namespace

task_state* running_task() noexcept {
  auto* const loop = scheduler::current();
  return loop != nullptr ? loop->running() : nullptr;
}

task_state& this_task_state(boost::source_location const& place) {
  if (auto* const task = running_task()) [[likely]]
    return *task;
  throw_no_task(place);
}

task_state& enter(boost::source_location const& place) {
  auto& task = this_task_state(place);
  return enter_fast(task, place, scheduler::here().share_is_used_up());
}

task_state& enter_without_yield(boost::source_location const& place) {
  return enter_fast(this_task_state(place), place, false);
}

void checkpoint(boost::source_location const& place) {
  auto& task = this_task_state(place);
  enter_fast(task, place, scheduler::here().checkpoint_is_due());
}

bool has_deliverable_request(task_state& task) noexcept {
  if (!task.cancels().deliverable()) return false;
  std::scoped_lock const guard(task.lock());
  return task.cancels().deliverable(scheduler::of(task).unwinding());
}

claim suspend(waiter& w) noexcept {
  auto& task = w.task();
  auto& loop = scheduler::of(task);
  w.unwinding(loop.unwinding());
  task.fall_asleep(w);
  loop.hand_over(task);
  BOOST_ASSERT(w.claimed() != claim::none);
  return w.claimed();
}

outside_wait::outside_wait(task_state& task) noexcept : task_(task) { task_.loop().outside_work(+1); }
outside_wait::~outside_wait() { task_.loop().outside_work(-1); }

cancelled_error deliver_requests(task_state& task) noexcept {
  std::scoped_lock const guard(task.lock());
  auto request = task.cancels().deliver(scheduler::of(task).unwinding());
  request.of(task.id());
  return request;
}

void put_requests_back(task_state& task) noexcept {
  std::scoped_lock const guard(task.lock());
  task.cancels().put_back();
}

void throw_lost_wait(task_state& task, claim how) {
  if (how == claim::closed) throw deadlock_error(task.loop().deadlock());
  throw invalid_state_error(
      "fibers: task '" + task.name() +
      "' waited for an object that was destroyed meanwhile; destroy it after its waits have ended");
}

void yield_now(boost::source_location const& place) {
  auto& task = this_task_state(place);
  enter_fast(task, place, false);  // used as returned, the task would take two more registers
  yield(task, scheduler::here());
  throw_deliverable(task);  // a yield has no result that could be lost
}

void wake(waiter& w) noexcept {
  BOOST_ASSERT(w.claimed() != claim::none);
  if (w.is_in_several_lists()) [[unlikely]]
    w.withdraw();
  auto& task = w.task();
  auto& loop = task.loop();
  if (&loop == scheduler::current()) {
    loop.make_ready(task);
  } else {
    loop.post(task, inbox_entry::woken);
  }
}

void enter_scope(task_state& task, cancel_scope& scope) noexcept {
  auto const unwinding = scheduler::of(task).unwinding();
  std::scoped_lock const guard(task.lock());  // another thread may be making a request
  task.cancels().enter(scope, unwinding);
}

bool leave_scope_slowly(task_state& task, cancel_scope& scope) noexcept {
  std::scoped_lock const guard(task.lock());
  return task.cancels().leave(scope);
}

}  // namespace fibers::detail
