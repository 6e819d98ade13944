// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a task is: a body that runs once on a fiber, requests to cancel it, and one outcome.
//
//   created --dispatch--> running --suspend--> suspended --claim, wake--> ready --dispatch--> running
//      |                     |  '---yield---------------------------------> ready
//      |                     '--body ends--> finished
//      '--dispatch, cancelled before--> finished, without its body having run
//
// created and ready: it stands in its loop's ready queue. running: it is its loop's running(). suspended: its waiter()
// says for what. finished: the outcome was written before, and is never changed.
//
// Who may touch what:
//   the loop's own thread       context_, next_ready_, waiter_, stage_ (others may ask for finished only), locals_
//   anyone, under lock()        cancels(), observers_, extras_ (name, callbacks)
//   anyone, once finished()     the outcome

#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/intrusive_ptr.hpp>
#include <cstdint>
#include <exception>
#include <fibers/detail/engine/cancel_state.hpp>
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

/// Told of an exception that left a task and that nobody has fetched, when its last handle goes, on the thread where
/// that is. What it throws itself goes to stderr.
using unhandled_exception_hook = std::function<void(std::string const& task, std::exception_ptr error)>;

namespace detail {

class loop;
class task_state;

class local_values;  // of task_local
void intrusive_ptr_add_ref(local_values* values) noexcept;
void intrusive_ptr_release(local_values* values) noexcept;

using task_ptr = boost::intrusive_ptr<task_state>;

/// How many exceptions nobody has fetched, in this process so far. Any thread.
unsigned long unhandled_count() noexcept;

enum class stage : std::uint8_t { created, ready, running, suspended, finished };
enum class ending : std::uint8_t { none, returned, failed, cancelled };

/// Told of the end of a task, on the thread on which it ended and under its lock: so it may touch nothing but itself
/// and the waiter it serves. It takes itself off before it goes.
class end_observer : public boost::intrusive::list_base_hook<> {
 public:
  virtual void ended(task_state& task) noexcept = 0;

 protected:
  ~end_observer() = default;
};

/// The scope that waits for all its tasks: told of each end without any lock held. It lives until it was told.
class task_parent {
 public:
  virtual void child_ended(task_state& child) noexcept = 0;

 protected:
  ~task_parent() = default;
};

/// A callback for the end of a task: called on a loop, outside of every fiber, after the task has ended.
///
///   registered --task ends--> due --claim--> called
///        '------------claim-----'----------> removed
///
/// Owned by the list that it is in, which is the task's (under the task's lock) and from the end on the loop's own, and
/// by handles. Its content, the callable and the share in the task, belongs to the claimer, and there is only one.
class done_callback : public from_memory, public boost::intrusive::list_base_hook<> {
 public:
  explicit done_callback(task_ptr of) noexcept : task_(std::move(of)) {}
  done_callback(done_callback const&) = delete;
  done_callback& operator=(done_callback const&) = delete;

  friend void intrusive_ptr_add_ref(done_callback* callback) noexcept { callback->owners_.add(); }
  friend void intrusive_ptr_release(done_callback* callback) noexcept {
    if (callback->owners_.remove()) delete callback;
  }

  /// Any thread. True for exactly one caller.
  [[nodiscard]] bool try_claim() noexcept { return !claimed_.exchange(true, std::memory_order_relaxed); }

  // --- for its claimer ---

  task_state& task() const noexcept { return *task_; }
  void call() { invoke(task_); }  // may throw
  /// Destroys the callable, and gives the share in the task up.
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

/// First in, first out. Shares in owning what is in it. Every operation is O(1), save the destructor.
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

/// A child's place in its group.
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

  /// As given at spawn or later, else "task-" and its number.
  std::string name();
  void name(std::string name);

  /// Does somebody wait for the end?
  bool observed() noexcept;
  /// Has `observer` told of the end; false if that is past. And off again: returns once nobody is telling it.
  bool observe(end_observer& observer) noexcept;
  void unobserve(end_observer& observer) noexcept;

  /// Has the callback called once the task has ended; false if it has. O(1).
  bool add_callback(done_callback& callback);
  /// For its claimer. O(1).
  void remove_callback(done_callback& callback) noexcept;

  // --- any thread, once finished ---

  enum ending ending() const noexcept { return ending_; }
  /// What left the body, or a cancelled_error; null if it returned. Counts as looked at.
  std::exception_ptr error() noexcept;
  /// How it ended, if that was by a cancelled_error.
  cancelled_error const& cancelled() const noexcept { return cancels_.ended_with(); }
  /// Throws what error() gives.
  void throw_error() {
    looked_at();
    if (ending_ != ending::returned) throw_ending();
  }
  void looked_at() noexcept { looked_at_.store(true, std::memory_order_relaxed); }

  /// The result may be moved out once. True for the first who asks.
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
    stage_.store(stage::suspended, std::memory_order_relaxed);
  }
  task_parent* parent() const noexcept { return parent_; }
  void parent(task_parent* p) noexcept { parent_ = p; }
  boost::intrusive_ptr<local_values>& locals() noexcept { return locals_; }

 protected:
  /// Calls the body and keeps its value, or what left it.
  virtual enum ending call() = 0;
  enum ending keep(cancelled_error const& error) noexcept;
  enum ending keep(std::exception_ptr error) noexcept;
  /// The body called pthread_exit(), or its thread was cancelled: says so on stderr, and aborts.
  [[noreturn]] void refuse_forced_unwind() noexcept;
  /// Destroys the callable; may suspend.
  virtual void drop_callable() noexcept = 0;
  virtual void drop_value() noexcept = 0;

 private:
  friend class loop;
  friend class scheduler;
  friend class ready_queue;

  // What few tasks have.
  struct extras : from_memory {
    std::string name;
    callback_list callbacks;  // in the order of their registration
    std::shared_ptr<unhandled_exception_hook const> on_unhandled;
  };

  [[noreturn]] void throw_ending();
  extras& extra();  // under lock
  /// Under lock: is told if nobody fetches the error. Without memory for it stderr is.
  void keep_hook(std::shared_ptr<unhandled_exception_hook const> const& hook) noexcept;
  enum ending run();
  void fail(std::exception_ptr error) noexcept;  // without having run
  /// Under lock: the outcome is known. Tells the observers; returns the callbacks, which are to be called.
  [[nodiscard]] callback_list finish(enum ending how) noexcept;

  // What a switch touches comes first.
  context context_;
  task_state* next_ready_ = nullptr;
  class waiter* waiter_ = nullptr;
  class loop* loop_ = nullptr;
  [[no_unique_address]] floating_point_control
      control_at_spawn_;  // the spawner's; the body begins with it, as a thread does
  atomic<enum stage> stage_ = stage::created;
  enum ending ending_ = ending::none;
  atomic<bool> looked_at_ = false;
  atomic<bool> result_taken_ = false;
  bool awaited_by_loop_ = false;  // run() goes on until it has ended
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
