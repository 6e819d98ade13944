// SPDX-License-Identifier: BSL-1.0
#pragma once

// What other rooms may know of a thread's loop: who is ready, what is due, how to reach it. The scheduler, which is the
// only kind there is, decides who runs.
//
// Where a task is: in ready (created or ready), running (one), suspended (somebody will wake it), or finished. All that
// have not finished stand in tasks(), which shares in owning them.

#include <boost/intrusive/list.hpp>
#include <fibers/clock.hpp>
#include <fibers/detail/task_state.hpp>
#include <functional>
#include <memory>
#include <string>

#include "inbox.hpp"
#include "parker.hpp"
#include "timer_queue.hpp"

namespace fibers::detail {

class ready_queue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  task_state* first() const noexcept { return first_; }
  void push(task_state& task) noexcept {
    task.next_ready_ = nullptr;
    *(first_ == nullptr ? &first_ : &last_->next_ready_) = &task;
    last_ = &task;
  }
  task_state& pop() noexcept {
    task_state& task = *first_;
    first_ = task.next_ready_;
    return task;
  }

 private:
  task_state* first_ = nullptr;
  task_state* last_ = nullptr;
};

class loop {
 public:
  loop(loop const&) = delete;
  loop& operator=(loop const&) = delete;

  /// The loop that this thread is running, or null.
  static loop* current() noexcept { return current_; }

  /// Null while the loop itself has its turn.
  task_state* running() const noexcept { return running_; }

  /// Those that have not finished, in the order of their creation.
  auto& tasks() noexcept { return tasks_; }

  /// Takes a new task in: it is ready.
  void add(task_state& task, boost::source_location const& place);

  void make_ready(task_state& task) noexcept {
    task.stage_.store(stage::ready, std::memory_order_relaxed);
    ready_.push(task);
  }

  timer_queue& timers() noexcept { return timers_; }

  /// The loop has its turn when the running task next suspends, though others are ready.
  void end_turn() noexcept { budget_ = 0; }

  /// Another thread has news of a task, which cannot end meanwhile. Any thread.
  void post(task_state& task, inbox_entry::note note) noexcept {
    inbox_.post(task, note, [&task] { intrusive_ptr_add_ref(&task); });
  }

  /// The loop will call what was given to on_ring(). Any thread, signal handlers.
  void ring() noexcept { inbox_.ring(); }
  void on_ring(std::function<void()> f) { on_ring_ = std::move(f); }

  /// Calls it before the next turn, which comes soon.
  void call_back_later(std::unique_ptr<done_callback> callback) noexcept {
    *callbacks_end_ = std::move(callback);
    callbacks_end_ = &(*callbacks_end_)->next;
    end_turn();
  }

  /// Counts a chance to give way that the running task has not taken. True: it should now.
  bool turn_is_over() noexcept { return --budget_ <= 0; }

  /// Null: stderr is told.
  std::shared_ptr<unhandled_exception_hook const> const& on_unhandled() const noexcept { return on_unhandled_; }

  /// Who waited when nothing could ever run again.
  std::string const& deadlock() const noexcept { return deadlock_; }
  void deadlock(std::string text) { deadlock_ = std::move(text); }

  /// "'fetch' waits at client.cpp:12 (…)" and so on, a line each.
  std::string describe_tasks();

 protected:
  loop(std::unique_ptr<parker> p, std::shared_ptr<unhandled_exception_hook const> on_unhandled) noexcept;
  ~loop();

  // Initial-exec: one load, where a library would else call a function to find it.
  [[gnu::tls_model("initial-exec")]] static constinit thread_local loop* current_;

  // What a switch touches comes first.
  ready_queue ready_;
  task_state* running_ = nullptr;
  int budget_ = 0;  // switches left in this turn

  timer_queue timers_;
  std::unique_ptr<parker> parker_;
  inbox inbox_;
  std::function<void()> on_ring_;
  boost::intrusive::list<task_state> tasks_;
  std::unique_ptr<done_callback> callbacks_;  // in the order in which they became due
  std::unique_ptr<done_callback>* callbacks_end_ = &callbacks_;

 private:
  std::shared_ptr<unhandled_exception_hook const> const on_unhandled_;
  std::string deadlock_;
  std::uint64_t next_id_ = 0;  // the last number given to a task
  std::uint64_t last_id_ = 0;  // of the block
};

}  // namespace fibers::detail
