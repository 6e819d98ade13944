// SPDX-License-Identifier: BSL-1.0
#pragma once

// Which task runs next. A task that stops hands over to the next one directly; the loop itself, on the thread's own
// stack, has its turn when nobody is ready, and every so many switches, to look at the clock and at what other threads
// want.
//
// A worker (see worker_pool) whose task has ended runs the next created task at once, without a switch; if the next
// task was suspended, the worker becomes idle.

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
    std::unique_ptr<parker> how_to_sleep = {};  // null: as a thread does
    bool virtual_time = false;
    std::size_t stack_size = 0;
    std::shared_ptr<unhandled_exception_hook const> on_unhandled = {};
  };

  explicit scheduler(settings s);

  /// The one that runs this task.
  static scheduler& of(task_state const& task) noexcept { return static_cast<scheduler&>(task.loop()); }
  /// The one that this thread runs: found at once, also after a switch, as context_switch::thread_ is.
  static scheduler& here() noexcept { return static_cast<scheduler&>(*current_); }

  /// run() goes on until this task has ended.
  void await(task_state& task) noexcept {
    task.awaited_by_loop_ = true;
    ++awaited_;
  }

  /// Runs tasks until all that are awaited have ended. False: nothing can ever run again.
  bool run();

  /// Stops the running task, which is suspended or ready already, until it has its turn again. For the door.
  void hand_over(task_state& task) noexcept {
    context& target = next();
    if (&target != &task.context_) switch_.switch_to(task.context_, target);
    task.change(stage::ready, stage::running);
  }

  /// How many exceptions are unwinding the running task's stack.
  unsigned unwinding() const noexcept { return switch_.uncaught_exceptions(); }

  /// Ends what is left, as failed with this error, without running it: its stacks are never unwound.
  void abandon(std::exception_ptr const& error) noexcept;

 private:
  static constexpr int switches_per_turn = 64;

  // That of the task that is to run, which is running_ from now on; or that of the loop.
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
