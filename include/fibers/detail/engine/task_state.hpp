// SPDX-License-Identifier: BSL-1.0
#pragma once

// A task: a body that runs once on a fiber, its cancellation requests, and one outcome.
//
//   created --dispatch--> running --suspend--> suspended --claim, wake--> ready --dispatch--> running
//      |                     |  '---yield---------------------------------> ready
//      |                     '--body ends--> finished
//      '--dispatch, cancelled before--> finished, without its body having run
//
// created and ready: it is in its loop's ready queue. running: it is its loop's running(). suspended: waiter() is its
// wait. finished: the outcome was written before, and is never changed.
//
// Access:
//   the loop's own thread           context_, next_ready_, waiter_, stage_ (others may ask for finished only), locals_
//   any thread, under lock()        cancels(), observers_, extras_ (name, callbacks)
//   any thread, once finished()     the outcome

#include <boost/assert.hpp>
#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/intrusive_ptr.hpp>
#include <cstdint>
#include <exception>
#include <fibers/detail/engine/cancel_state.hpp>
#include <fibers/detail/engine/unhandled.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/context.hpp>
#include <fibers/detail/parts/inbox_entry.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/error.hpp>
#include <functional>
#include <memory>
#include <string>

namespace fibers {

namespace detail {

class loop;
class task_state;

class local_values;  // of task_local
void intrusive_ptr_add_ref(local_values* values) noexcept;
void intrusive_ptr_release(local_values* values) noexcept;

using task_ptr = boost::intrusive_ptr<task_state>;

enum class stage : std::uint8_t { created, ready, running, suspended, finished };
enum class ending : std::uint8_t { none, returned, failed, cancelled };

/// Observer of the end of a task. ended() is called on the task's thread and under its lock, and may touch only the
/// observer and the waiter that it serves. The observer must be unregistered before it is destroyed.
class end_observer : public boost::intrusive::list_base_hook<> {
 public:
  virtual void ended(task_state& task) noexcept = 0;

 protected:
  ~end_observer() = default;
};

/// The scope that waits for all its tasks. child_ended() is called without locks; the scope outlives every such call.
class task_parent {
 public:
  virtual void child_ended(task_state& child) noexcept = 0;

 protected:
  ~task_parent() = default;
};

/// A callback for the end of a task: called on the task's loop, outside of every fiber, after the task has ended.
///
///   registered --task ends--> due --claim--> called
///        '------------claim-----'----------> removed
///
/// Owned by handles and by the list that it is in: the task's (under the task's lock), and after the end the loop's.
/// Its content, the callable and the reference to the task, belongs to the claimer. There is exactly one claimer.
class done_callback : public from_memory, public boost::intrusive::list_base_hook<> {
 public:
  explicit done_callback(task_ptr of) noexcept : task_(std::move(of)) {}
  done_callback(done_callback const&) = delete;
  done_callback& operator=(done_callback const&) = delete;

  friend void intrusive_ptr_add_ref(done_callback* callback) noexcept { callback->owners_.add(); }
  friend void intrusive_ptr_release(done_callback* callback) noexcept {
    if (callback->owners_.remove()) delete callback;
  }

  /// Returns true to exactly one caller. Thread-safe.
  [[nodiscard]] bool try_claim() noexcept { return !claimed_.exchange(true, std::memory_order_relaxed); }

  // --- for its claimer ---

  task_state& task() const noexcept { return *task_; }
  void call() { invoke(task_); }  // may throw
  /// Destroys the callable, and releases the task.
  void drop() noexcept {
    drop_callable();
    task_ = nullptr;
  }

 protected:
  virtual ~done_callback() = default;
  virtual void invoke(task_ptr const& of) = 0;
  virtual void drop_callable() noexcept = 0;

 private:
  task_ptr task_;
  reference_count owners_;
  atomic<bool> claimed_ = false;
};

using callback_ptr = boost::intrusive_ptr<done_callback>;

/// FIFO. Shares ownership of its elements. Complexity: O(1), except the destructor.
class callback_list {
 public:
  callback_list() = default;
  callback_list(callback_list&&) = default;
  callback_list& operator=(callback_list&&) = delete;
  ~callback_list() {
    while (!empty()) pop();
  }

  bool empty() const noexcept { return callbacks_.empty(); }
  void push(done_callback& callback) noexcept {
    intrusive_ptr_add_ref(&callback);
    callbacks_.push_back(callback);
  }
  callback_ptr pop() noexcept {
    callback_ptr const first(&callbacks_.front(), false);
    callbacks_.pop_front();
    return first;
  }
  void remove(done_callback& callback) noexcept {
    callbacks_.erase(callbacks_.iterator_to(callback));
    intrusive_ptr_release(&callback);
  }
  void append(callback_list& others) noexcept { callbacks_.splice(callbacks_.end(), others.callbacks_); }

 private:
  boost::intrusive::list<done_callback, boost::intrusive::constant_time_size<false>> callbacks_;
};

/// A child's link in its group.
struct child_tag;
using child_hook = boost::intrusive::list_base_hook<boost::intrusive::tag<child_tag>>;

class task_state : public from_memory,
                   public inbox_entry,
                   public boost::intrusive::list_base_hook<>,
                   public child_hook {
 public:
  task_state() noexcept;
  task_state(task_state const&) = delete;
  task_state& operator=(task_state const&) = delete;
  virtual ~task_state();

  friend void intrusive_ptr_add_ref(task_state* task) noexcept { task->owners_.add(); }
  friend void intrusive_ptr_release(task_state* task) noexcept {
    if (task->owners_.remove()) delete task;
  }

  // --- any thread ---

  bool finished() const noexcept { return stage_.load(std::memory_order_acquire) == stage::finished; }
  spinlock& lock() noexcept { return lock_; }
  cancel_state& cancels() noexcept { return cancels_; }
  task_id id() const noexcept { return id_; }
  class loop& loop() const noexcept {
    return *loop_;
  }
  boost::source_location const& spawned_at() const noexcept { return spawned_at_; }

  /// The name that was given at spawn or later; "task-" and its number by default.
  std::string name();
  void name(std::string name);

  /// Reports an error of this task that nothing will fetch: to the hook, or to stderr.
  void report(unhandled_exception_hook const* hook, std::exception_ptr const& error, char const* where) noexcept;

  /// Is there an observer of the end?
  bool observed() noexcept;
  /// Registers `observer`; returns false if the task has ended. unobserve() returns once ended() is not being called.
  bool observe(end_observer& observer) noexcept;
  void unobserve(end_observer& observer) noexcept;

  /// Registers the callback; returns false if the task has ended. O(1).
  bool add_callback(done_callback& callback);
  /// For its claimer. O(1).
  void remove_callback(done_callback& callback) noexcept;

  // --- any thread, once finished ---

  enum ending ending() const noexcept { return ending_; }
  /// The exception that left the body, or a cancelled_error; null if it returned. Counts as looked at.
  std::exception_ptr error() noexcept;
  /// The outcome of a cancelled task.
  cancelled_error const& cancelled() const noexcept { return cancels_.ended_with(); }
  /// Throws the exception that error() returns.
  void throw_error() {
    looked_at();
    if (ending_ != ending::returned) throw_ending();
  }
  void looked_at() noexcept { looked_at_.store(true, std::memory_order_relaxed); }

  /// The result may be moved out once: returns true to the first caller.
  bool take_result() noexcept {
    if (!single_threaded()) return !result_taken_.exchange(true, std::memory_order_relaxed);
    bool const taken = result_taken();
    result_taken_.store(true, std::memory_order_relaxed);
    return !taken;
  }
  bool result_taken() const noexcept { return result_taken_.load(std::memory_order_relaxed); }

  // --- own thread ---

  enum stage stage() const noexcept { return stage_.load(std::memory_order_relaxed); }
  class waiter* waiter() const noexcept {
    return waiter_;
  }  ///< while suspended
  void fall_asleep(class waiter& w) noexcept {
    waiter_ = &w;
    change(stage::running, stage::suspended);
  }
  /// A transition from a stage to the next. From another stage it is a fault of the library.
  void change([[maybe_unused]] enum stage from, enum stage to) noexcept {
    BOOST_ASSERT(stage() == from);
    stage_.store(to, std::memory_order_relaxed);
  }
  task_parent* parent() const noexcept { return parent_; }
  void parent(task_parent* p) noexcept { parent_ = p; }
  boost::intrusive_ptr<local_values>& locals() noexcept { return locals_; }

 protected:
  /// Calls the body and keeps its value, or the exception that left it.
  virtual enum ending call() = 0;
  enum ending keep(cancelled_error const& error) noexcept;
  enum ending keep(std::exception_ptr error) noexcept;
  /// Aborts with a message on stderr: the body called pthread_exit(), or its thread was cancelled.
  [[noreturn]] void refuse_forced_unwind() noexcept;
  /// Destroys the callable; may suspend.
  virtual void drop_callable() noexcept = 0;
  virtual void drop_value() noexcept = 0;

 private:
  friend class loop;
  friend class scheduler;
  friend class ready_queue;

  // For the few tasks that need it.
  struct extras : from_memory {
    std::string name;
    callback_list callbacks;  // in order of registration
    std::shared_ptr<unhandled_exception_hook const> on_unhandled;
  };

  [[noreturn]] void throw_ending();
  extras& extra();  // under lock
  /// Under lock: the hook for an error that is never fetched. If memory is exhausted, stderr is used.
  void keep_hook(std::shared_ptr<unhandled_exception_hook const> const& hook) noexcept;
  enum ending run();
  void fail(std::exception_ptr error) noexcept;  // without having run
  /// Under lock, once the outcome is known. Notifies the observers; the caller must have the returned callbacks called.
  [[nodiscard]] callback_list finish(enum ending how) noexcept;

  // The members that a switch touches come first.
  context context_;
  task_state* next_ready_ = nullptr;
  class waiter* waiter_ = nullptr;
  class loop* loop_ = nullptr;
  [[no_unique_address]] floating_point_control
      control_at_spawn_;  // the spawner's; the body starts with it, as a thread does
  atomic<enum stage> stage_ = stage::created;
  enum ending ending_ = ending::none;
  atomic<bool> looked_at_ = false;
  atomic<bool> result_taken_ = false;
  bool awaited_by_loop_ = false;  // run() returns only after it has ended
  spinlock lock_;
  reference_count owners_;
  cancel_state cancels_;

  boost::intrusive::list<end_observer, boost::intrusive::constant_time_size<false>> observers_;
  task_parent* parent_ = nullptr;
  boost::intrusive_ptr<local_values> locals_;
  std::unique_ptr<extras> extras_;
  task_id id_;
  boost::source_location spawned_at_;
  std::exception_ptr failure_;
};

}  // namespace detail

}  // namespace fibers
