// SPDX-License-Identifier: BSL-1.0
#pragma once

// What other rooms may know of a thread's loop: who is ready, what is due, how to reach it. The scheduler, which is the
// only kind there is, decides who runs.
//
// Where a task is: in ready (created or ready), running (one), suspended (somebody will wake it), or finished. All that
// have not finished stand in tasks(), which shares in owning them.

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
  /// The one behind so many others comes first.
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

/// By this thread's newest parker_source; null if there is none.
std::unique_ptr<parker> parker_of_this_thread();

class alignas(64) loop {  // what a switch touches is one line of the cache
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

  /// Null: it sleeps as a thread does.
  parker* chosen_parker() const noexcept { return chosen_parker_.get(); }
  void choose(std::unique_ptr<parker> chosen);

  /// From now on signal handlers may ring.
  void expect_signals();

  /// Counts what is under way outside of the loop for its tasks, and will wake them: meanwhile nothing is a deadlock,
  /// and virtual time passes as real time does.
  void outside_work(int change) noexcept { outside_work_ += change; }

  bool any_ready() const noexcept { return !ready_.empty(); }
  bool in_virtual_time() const noexcept { return virtual_clock_.has_value(); }

  /// Looks on, until unwatch() or the end of the loop.
  void watch(loop_watch& w) noexcept { watches_.push_back(w); }
  void unwatch(loop_watch& w) noexcept { watches_.erase(watches_.iterator_to(w)); }
  auto& watches() noexcept { return watches_; }

  /// It is asked before each step from now on, and a step goes to the next chance to give way.
  void choose_steps(step_chooser* chooser) noexcept {
    chooser_ = chooser;
    end_turn();
  }

  /// The loop will end soon, and all tasks with it as if in a deadlock.
  void give_up() noexcept {
    given_up_ = true;
    end_turn();
  }
  bool given_up() const noexcept { return given_up_; }

  /// Calls them, in order, before the next turn, which comes soon.
  void call_back_later(callback_list& callbacks) noexcept {
    if (callbacks.empty()) return;
    callbacks_.append(callbacks);
    end_turn();
  }

  /// Counts an operation that may suspend, of which the loop does not know yet whether it has to. True: the running
  /// task has had its share of those that did not have to, and yields first.
  bool share_is_used_up() noexcept { return --share_ <= 0; }

  /// Counts a checkpoint() beside that: what is done between two is longer than an operation. True also if the loop
  /// wants its turn.
  bool checkpoint_is_due() noexcept {
    share_ -= operations_per_checkpoint;
    return share_ <= 0 || budget_ <= 0 || chooser_ != nullptr;
  }

  /// Null: stderr is told.
  std::shared_ptr<unhandled_exception_hook const> const& on_unhandled() const noexcept { return on_unhandled_; }

  /// Who waited when nothing could ever run again.
  std::string const& deadlock() const noexcept { return deadlock_; }
  void deadlock(std::string text) { deadlock_ = std::move(text); }

  /// "'fetch' waits at client.cpp:12 (…)" and so on, a line each.
  std::string describe_tasks();

 protected:
  // How many operations in a row a task may do that did not have to wait. They take 5 to 50 ns each, so timers, signals
  // and other tasks are kept waiting for some 10 µs, less than a thread is by its system; and the yield, 50 ns (with
  // Asio, which looks for I/O, 1 µs), costs less than 4 ns for each.
  static constexpr int operations_per_share = 256;
  static constexpr int operations_per_checkpoint = 4;

  loop(std::unique_ptr<parker> chosen, std::shared_ptr<unhandled_exception_hook const> on_unhandled) noexcept;
  ~loop();

  // Initial-exec: one load, where a library would else call a function to find it.
  [[gnu::tls_model("initial-exec")]] static constinit thread_local loop* current_;

  // What a switch touches comes first.
  ready_queue ready_;
  task_state* running_ = nullptr;
  int budget_ = 0;  // switches left in this turn
  int share_ = 0;   // operations left to the running task before it yields
  boost::intrusive::list<loop_watch, boost::intrusive::constant_time_size<false>> watches_;

  timer_queue timers_;
  std::optional<virtual_clock> virtual_clock_;
  thread_parker thread_parker_;  // stays when another one is chosen: posters may just be about to wake it
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

  // What was on this thread when the loop came back to it, and is again when it leaves: nothing, unless a task of
  // another loop has stopped in a way that we do not see, and left its loop here.
  loop* found_ = nullptr;
  time_point const* found_now_ = nullptr;

  std::shared_ptr<unhandled_exception_hook const> const on_unhandled_;
  std::string deadlock_;
  std::uint64_t next_id_ = 0;  // the last number given to a task
  std::uint64_t last_id_ = 0;  // of the block
};

}  // namespace fibers::detail
