// SPDX-License-Identifier: BSL-1.0
#pragma once

// Which task runs next. A task that suspends switches to the next one directly. The loop itself, on the thread's own
// stack, has its turn when no task is ready, and after every 64 switches; it then polls timers and the inbox.
//
// Stacks belong to workers: fibers that run one task after the other. A task gets a worker when it first runs. A worker
// whose task has ended runs the next task at once if that is a created one; otherwise it is idle until it is needed, in
// LIFO order.

#include <cstdint>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <memory>

#include "../parts/context_switch.hpp"
#include "../parts/stack_overflow.hpp"
#include "loop.hpp"
#include "worker_pool.hpp"

namespace fibers::detail {

class scheduler final : public loop {
 public:
  struct settings {
    std::unique_ptr<parker> how_to_sleep = {};  // null: the loop parks its thread
    bool virtual_time = false;
    std::size_t stack_size = 0;
    std::shared_ptr<unhandled_exception_hook const> on_unhandled = {};
  };

  explicit scheduler(settings s);

  /// The task's scheduler.
  static scheduler& of(task_state const& task) noexcept { return static_cast<scheduler&>(task.loop()); }
  /// This thread's scheduler, by one load, also after a switch. Precondition: the thread runs one.
  static scheduler& here() noexcept { return static_cast<scheduler&>(*current_); }

  /// run() returns only after this task has ended.
  void await(task_state& task) noexcept {
    task.awaited_by_loop_ = true;
    ++awaited_;
  }

  /// Runs tasks until all awaited tasks have ended. Returns false in a deadlock, or after give_up().
  bool run();

  /// Switches from the running task, which is already suspended or ready, to the next; returns when it runs again. For
  /// suspend() and yields.
  void hand_over(task_state& task) noexcept {
    context& target = next();
    if (&target != &task.context_) switch_.switch_to(task.context_, target);
    task.change(stage::ready, stage::running);
  }

  /// The number of exceptions that unwind the running task's stack.
  unsigned unwinding() const noexcept { return switch_.uncaught_exceptions(); }

  /// Ends the remaining tasks as failed with this error, without running them: their stacks are never unwound.
  void abandon(std::exception_ptr const& error) noexcept;

 private:
  static constexpr int switches_per_turn = 64;

  // The context of the next task, which becomes running_, or of the loop.
  context& next() noexcept {
    if (--budget_ > 0 && !ready_.empty()) [[likely]] {
      task_state& task = *ready_.first();
      if (auto* const target = task.stage() == stage::created ? workers_.acquire() : &task.context_) [[likely]] {
        ready_.pop();
        is_next(task);
        if (auto* const after_it = ready_.first()) context_switch::prefetch(after_it->context_);
        return *target;
      }
      starved_ = true;
    }
    running_ = nullptr;
    return loop_;
  }
  void is_next(task_state& task) noexcept {
    running_ = &task;
    share_ = operations_per_share;
  }
  [[noreturn]] static void work(void* self) noexcept;
  void end(task_state& task, ending how) noexcept;
  void look_around();
  void choose_step();
  bool sleep();
  bool sleep_in_virtual_time();
  void fail_starved() noexcept;
  void call_back_first();
  static void describe_running(char* buffer, std::size_t size) noexcept;

  context_switch switch_;
  context loop_;          // while a task runs
  bool starved_ = false;  // is there no stack for the first of ready_?
  std::size_t awaited_ = 0;

  worker_pool workers_;
  unsigned colour_ = 0;
  overflow_watch overflow_watch_;
};

}  // namespace fibers::detail
