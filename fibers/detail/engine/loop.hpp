// SPDX-License-Identifier: BSL-1.0
#pragma once

// The interface of a thread's loop for other components: ready queue, timers, inbox. The scheduler, its only derived
// class, decides which task runs.
//
// Invariant: a task is in ready_ (created or ready), or running_, or suspended (the claimer of its waiter owes it a
// wake()), or finished. tasks() shares ownership of all tasks that have not finished.

#include <boost/intrusive/list.hpp>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/engine/this_loop.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "../parts/inbox.hpp"
#include "../parts/thread_parker.hpp"
#include "../parts/timer_queue.hpp"
#include "loop_watch.hpp"

namespace fibers::detail {

class ready_queue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  task_state* first() const noexcept { return first_; }
  std::size_t size() const noexcept {
    std::size_t count = 0;
    for (auto const* task = first_; task != nullptr; task = task->next_ready_) ++count;
    return count;
  }
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
  /// Moves the task at this index to the front.
  void bring_forward(std::size_t index) noexcept {
    if (index == 0) return;
    auto* before = first_;
    while (--index > 0) before = before->next_ready_;
    auto* const task = before->next_ready_;
    before->next_ready_ = task->next_ready_;
    if (last_ == task) last_ = before;
    task->next_ready_ = first_;
    first_ = task;
  }

 private:
  task_state* first_ = nullptr;
  task_state* last_ = nullptr;
};

/// Reports an error of this task, whose loop has not ended, that nothing will fetch.
void report_unhandled(task_state& task, std::exception_ptr const& error, char const* where) noexcept;

/// By this thread's newest parker_source; null if there is none.
std::unique_ptr<parker> parker_of_this_thread();

class alignas(64) loop {  // a switch touches one cache line of it
 public:
  loop(loop const&) = delete;
  loop& operator=(loop const&) = delete;

  /// The loop that this thread is running, or null.
  static loop* current() noexcept { return current_; }

  /// Null between tasks.
  task_state* running() const noexcept { return running_; }

  /// The tasks that have not finished, in order of creation.
  auto& tasks() noexcept { return tasks_; }

  /// Adds a new task, which becomes ready.
  void add(task_state& task, boost::source_location const& place);

  /// Of a task that is suspended, whose wait the caller has claimed; or of the running one, which yields.
  void make_ready(task_state& task, stage from = stage::suspended) noexcept {
    task.change(from, stage::ready);
    ready_.push(task);
  }

  timer_queue& timers() noexcept { return timers_; }

  /// Ends the turn: the running task's next suspension switches to the loop, even if other tasks are ready.
  void end_turn() noexcept { budget_ = 0; }

  /// Posts a note to a task, which must not end meanwhile. Thread-safe.
  void post(task_state& task, inbox_entry::note note) noexcept {
    inbox_.post(task, note, [&task] { intrusive_ptr_add_ref(&task); });
  }

  /// Makes the loop call the on_ring() callback. Thread-safe and async-signal-safe.
  void ring() noexcept { inbox_.ring(); }
  void on_ring(std::function<void()> f) { on_ring_ = std::move(f); }

  /// Null: the loop parks its thread.
  parker* chosen_parker() const noexcept { return chosen_parker_.get(); }
  void choose(std::unique_ptr<parker> chosen);

  /// From now on signal handlers may call ring().
  void expect_signals();

  /// Counts operations outside of the loop that will wake its tasks. While there are any, nothing is a deadlock, and
  /// virtual time passes as real time does.
  void outside_work(int change) noexcept { outside_work_ += change; }

  bool any_ready() const noexcept { return !ready_.empty(); }
  bool in_virtual_time() const noexcept { return virtual_clock_.has_value(); }

  /// Registers an observer until unwatch() or the end of the loop.
  void watch(loop_watch& w) noexcept { watches_.push_back(w); }
  void unwatch(loop_watch& w) noexcept { watches_.erase(watches_.iterator_to(w)); }
  auto& watches() noexcept { return watches_; }

  /// The chooser is called before each step from now on. A step ends at the next suspension or checkpoint.
  void choose_steps(step_chooser* chooser) noexcept {
    chooser_ = chooser;
    end_turn();
  }

  /// Ends the loop at its next turn, and all tasks as if in a deadlock.
  void give_up() noexcept {
    given_up_ = true;
    end_turn();
  }
  bool given_up() const noexcept { return given_up_; }

  /// Calls the callbacks, in order, in the loop's next turn, which comes at the running task's next suspension.
  void call_back_later(callback_list& callbacks) noexcept {
    if (callbacks.empty()) return;
    callbacks_.append(callbacks);
    end_turn();
  }

  /// Counts an operation that may suspend. Returns true if the running task has used up its share of operations without
  /// suspending, and must yield first.
  bool share_is_used_up() noexcept { return --share_ <= 0; }

  /// Counts a checkpoint(), as several operations: the code between two checkpoints takes longer. Returns true also if
  /// the loop's turn is due.
  bool checkpoint_is_due() noexcept {
    share_ -= operations_per_checkpoint;
    return share_ <= 0 || budget_ <= 0 || chooser_ != nullptr;
  }

  /// Null: unhandled exceptions are reported on stderr.
  std::shared_ptr<unhandled_exception_hook const> const& on_unhandled() const noexcept { return on_unhandled_; }

  /// The description of the latest deadlock, with the waiting tasks.
  std::string const& deadlock() const noexcept { return deadlock_; }
  void deadlock(std::string text) { deadlock_ = std::move(text); }

  /// One line per task, as "'fetch' waits at client.cpp:12 (…)".
  std::string describe_tasks();

 protected:
  // The number of operations in a row that a task may do without suspending. They take 5 to 50 ns each, so timers,
  // signals and other tasks wait for some 10 µs, less than for a thread's time slice. The yield takes 50 ns (1 µs with
  // Asio, which polls for I/O): less than 4 ns per operation.
  static constexpr int operations_per_share = 256;
  static constexpr int operations_per_checkpoint = 4;

  loop(std::unique_ptr<parker> chosen, std::shared_ptr<unhandled_exception_hook const> on_unhandled) noexcept;
  ~loop();

  // Initial-exec: one load, where a shared library would otherwise call a function.
  [[gnu::tls_model("initial-exec")]] static constinit thread_local loop* current_;

  // The members that a switch touches come first.
  ready_queue ready_;
  task_state* running_ = nullptr;
  int budget_ = 0;  // switches left in this turn
  int share_ = 0;   // operations left to the running task before it yields
  boost::intrusive::list<loop_watch, boost::intrusive::constant_time_size<false>> watches_;

  timer_queue timers_;
  std::optional<virtual_clock> virtual_clock_;
  thread_parker thread_parker_;  // stays when another one is chosen: posters may be about to unpark it
  std::unique_ptr<parker> chosen_parker_;
  inbox inbox_;
  int outside_work_ = 0;
  step_chooser* chooser_ = nullptr;
  bool given_up_ = false;
  std::function<void()> on_ring_;
  bool expects_signals_ = false;
  boost::intrusive::list<task_state> tasks_;
  callback_list callbacks_;  // in the order in which they became due

 private:
  friend class loop_absence;

  // The thread's previous state, restored when the loop leaves the thread. It is null unless a task of another loop was
  // suspended by other means than ours, and left its loop here.
  loop* found_ = nullptr;
  time_point const* found_now_ = nullptr;

  std::shared_ptr<unhandled_exception_hook const> const on_unhandled_;
  std::string deadlock_;
  std::uint64_t next_id_ = 0;  // the latest task's number
  std::uint64_t last_id_ = 0;  // of the block
};

}  // namespace fibers::detail
