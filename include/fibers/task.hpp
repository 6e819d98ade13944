// SPDX-License-Identifier: BSL-1.0
#pragma once

// A task is a callable that runs on a fiber of its own and can be cancelled.
//
//   auto download = fibers::spawn("download", [] { return fetch("…"); });
//   fibers::sleep_for(1s);
//   download.cancel();           // requests: the task gets a cancelled_error at its next suspension point
//   auto page = download.get();  // waits; returns the result, or throws the task's exception
//
// task<T> owns its task: the destructor cancels the task and waits for it, so a task does not outlive the objects that
// its callable refers to. task_handle<T> refers to a task and shares its outcome.

#include <boost/assert/source_location.hpp>
#include <exception>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/error.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace fibers {

namespace detail {

struct any_result {};
struct task_access;
class task_base;

/// Does a wait for tasks forward the caller's cancellation to them?
enum class pass_on : bool { no, yes };
/// Waits for the end of a task. May suspend. If a request was forwarded and the task ended cancelled, throws the task's
/// cancelled_error as the caller's own.
void join(task_state& target, pass_on forward, boost::source_location const& place);
/// Throws the cancelled_error of a task to which `self` has forwarded its own request.
[[noreturn]] void throw_passed_on(task_state& self, task_state& target);

}  // namespace detail

/// Refers to a callback that was registered with on_done(), and can remove it before the call. Copies refer to the same
/// callback. Destroying a handle changes nothing.
class callback_handle {
 public:
  callback_handle() = default;

  /// Removes the callback. Returns true if the callback will never be called.
  ///
  /// Returns false if the callback was called or removed before or is being called now, or if the handle is empty.
  /// Postcondition of true: the callable is destroyed. Does not suspend. Thread-safe. Complexity: O(1).
  bool remove() noexcept;

 private:
  friend detail::task_base;
  explicit callback_handle(detail::callback_ptr callback) noexcept : callback_(std::move(callback)) {}
  detail::callback_ptr callback_;
};

namespace detail {

/// The interface that task<T> and task_handle<T> share.
///
/// Every function throws invalid_state_error if the object is empty: moved from, detached, or default-constructed.
/// Thread-safe: functions that do not suspend may be called on any thread, the others in any task of any loop.
class task_base {
 public:
  /// Returns whether the object refers to a task.
  explicit operator bool() const noexcept { return state_ != nullptr; }

  /// Requests the cancellation of the task. Returns false, without effect, if the task has ended.
  ///
  /// The wait of a suspended task throws a cancelled_error with this message; in a running or ready task, the next
  /// suspension point throws it. If the task waits in get() for another task, the request is forwarded to that task.
  /// Does not suspend. Thread-safe.
  bool cancel(std::string_view message = {}, boost::source_location const& place = BOOST_CURRENT_LOCATION) const;

  /// Waits until the task has ended. Does not throw the task's exception.
  ///
  /// May suspend; cancellation point. A cancellation of the caller does not affect the task.
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) const;

  /// Calls cancel() and wait().
  ///
  /// May suspend; cancellation point. Throws cancelled_error only if the caller is cancelled.
  void cancel_and_wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) const;

  /// Returns whether the task has ended.
  bool done() const;
  /// Returns whether a cancelled_error has ended the task.
  bool cancelled() const;
  /// Returns the number of cancellation requests that were not withdrawn with uncancel().
  int cancelling() const;

  /// Returns the task's exception; null if the task returned.
  ///
  /// Throws invalid_state_error if the task has not ended, cancelled_error if the task was cancelled.
  std::exception_ptr exception() const;

  /// Gets or sets the name of the task; by default "task-1" and so on.
  std::string name() const;
  void name(std::string name) const;
  task_id id() const;

  /// Calls `callback` once the task has ended. The returned handle can remove the callback.
  ///
  /// The callback runs on the task's loop, between tasks; functions that may suspend throw invalid_state_error there.
  /// If the task has ended before, the callback runs on the caller's loop, or, on a thread without a loop, before
  /// on_done() returns. Callbacks run in the order of registration. The callback may take a task_handle<>. Its
  /// exceptions go to the hook for unhandled exceptions. Does not suspend. Thread-safe. Complexity: O(1).
  template <class Callback>
  callback_handle on_done(Callback callback) const;

 protected:
  task_base() = default;
  explicit task_base(task_ptr state) noexcept : state_(std::move(state)) {}
  task_state& state() const;
  /// Waits for the end and forwards the caller's cancellation. The handle may be destroyed meanwhile.
  task_ptr join(boost::source_location const& place) const;
  /// For the destructor of task<T>.
  void end_owned() noexcept {
    if (state_ != nullptr && !state_->finished()) end_unfinished();
  }

  task_ptr state_;

 private:
  friend task_access;
  void end_unfinished() noexcept;
};

}  // namespace detail

/// Refers to a task and shares its outcome. Copies refer to the same task. Handles do not keep a task running.
template <class T = detail::any_result>
class task_handle : public detail::task_base {
 public:
  task_handle() = default;

  /// Waits for the task. Returns a copy of its result, or throws its exception.
  ///
  /// May suspend; cancellation point: if the caller is cancelled, the request is forwarded to the task, and get() ends
  /// as the task does. A result that cannot be copied is moved out, once.
  T get(boost::source_location const& place = BOOST_CURRENT_LOCATION) const { return fetch(*join(place)); }

 private:
  friend detail::task_access;
  explicit task_handle(detail::task_ptr state) noexcept : task_base(std::move(state)) {}
  static T fetch(detail::task_state& ended);
};

/// A handle of a task with a result of any type.
template <>
class task_handle<detail::any_result> : public detail::task_base {
 public:
  task_handle() = default;
  template <class T>
  task_handle(task_handle<T> const& handle) noexcept : task_base(handle) {}

  /// Waits for the task, and throws its exception, if any. May suspend; cancellation point: as task_handle<T>::get().
  void get(boost::source_location const& place = BOOST_CURRENT_LOCATION) const { fetch(*join(place)); }

 private:
  friend detail::task_access;
  explicit task_handle(detail::task_ptr state) noexcept : task_base(std::move(state)) {}
  static void fetch(detail::task_state& ended) { ended.throw_error(); }
};

/// Owns a task. Movable, not copyable. task<> is task<void>.
template <class T = void>
class [[nodiscard("a task<> that is not kept is cancelled at once: keep it, or detach() it")]] task
    : public detail::task_base {
 public:
  task() = default;
  task(task && other) noexcept : task_base(std::exchange(other.state_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    task const old(std::exchange(state_, std::exchange(other.state_, nullptr)));
    return *this;
  }

  /// If the task has not ended, cancels it and waits for its end.
  ///
  /// May suspend; a cancellation does not interrupt this wait. On a thread without a loop, blocks the thread. In a
  /// callback of a loop, cancels the task without waiting for it.
  ~task() { end_owned(); }

  /// Waits for the task. Moves its result out, or throws its exception.
  ///
  /// May suspend; cancellation point: if the caller is cancelled, the request is forwarded to the task, and get() ends
  /// as the task does. A second get() throws invalid_state_error. get() of a handle returns a copy.
  T get(boost::source_location const& place = BOOST_CURRENT_LOCATION) { return fetch(*join(place)); }

  task_handle<T> handle() const;

  /// Gives up ownership; run() cancels the task at its end. Postcondition: the object is empty.
  task_handle<T> detach();

 private:
  friend detail::task_access;
  explicit task(detail::task_ptr state) noexcept : task_base(std::move(state)) {}
  static T fetch(detail::task_state & ended);
};

/// Makes a task of a callable. The task is ready: it begins when the spawner suspends or ends.
///
/// The task inherits the spawner's task_locals. The callable takes no arguments, since a pack of them would leave no
/// parameter for the call site: capture them. Does not suspend. Throws invalid_state_error outside of run(),
/// std::invalid_argument for an empty callable, std::bad_alloc. If there is no memory for its stack when it begins, the
/// task fails with std::bad_alloc.
template <detail::body F>
task<detail::result_of<F>> spawn(F&& callable, boost::source_location const& place = BOOST_CURRENT_LOCATION);
template <detail::body F>
task<detail::result_of<F>> spawn(std::string_view name, F&& callable,
                                 boost::source_location const& place = BOOST_CURRENT_LOCATION);
template <class F, class... Arguments>
requires detail::body_with_arguments<F, Arguments...>
void spawn(F&&, Arguments&&...) {
  static_assert(detail::never<F>, "spawn() takes no arguments; capture them: spawn([=] { f(arguments); })");
}
template <class F, class... Arguments>
requires detail::body_with_arguments<F, Arguments...>
void spawn(std::string_view, F&&, Arguments&&...) {
  static_assert(detail::never<F>, "spawn() takes no arguments; capture them: spawn(name, [=] { f(arguments); })");
}

// --- implementation ---

namespace detail {

/// For components that are built on tasks.
struct task_access {
  template <class Handle>
  static Handle make(task_ptr state) noexcept {
    return Handle(std::move(state));
  }
  static task_ptr const& state(task_base const& handle) noexcept { return handle.state_; }
  static task_ptr checked(task_base const& handle) { return task_ptr(&handle.state()); }
  /// Returns the result of get() for a task that has ended. Not a cancellation point.
  template <class Handle>
  static auto fetch(Handle& handle, task_state& ended) -> decltype(handle.get()) {
    return Handle::fetch(ended);
  }
};

/// Adds a new task to this thread's loop. Throws invalid_state_error if the thread runs no loop.
void start(task_state& task, std::string_view name, boost::source_location const& place);

void call_when_done(task_state& task, callback_ptr const& callback);

template <class Callback>
class callback_of final : public done_callback {
 public:
  callback_of(task_ptr of, Callback&& callback) : done_callback(std::move(of)), callback_(std::move(callback)) {}

 private:
  void invoke(task_ptr const& of) override {
    if constexpr (std::is_invocable_v<Callback&, task_handle<>>) {
      (*callback_)(task_access::make<task_handle<>>(of));
    } else {
      (*callback_)();
    }
  }
  void drop_callable() noexcept override { callback_.reset(); }

  std::optional<Callback> callback_;
};

template <class Callback>
callback_handle task_base::on_done(Callback callback) const {
  check_callable(callback);
  callback_ptr const registered(new callback_of<Callback>(task_ptr(&state()), std::move(callback)));
  call_when_done(state(), registered);
  return callback_handle(registered);
}

}  // namespace detail

template <class T>
T task_handle<T>::fetch(detail::task_state& ended) {
  ended.throw_error();
  if constexpr (!std::is_void_v<T>) return static_cast<detail::task_result<T>&>(ended).share();
}

template <class T>
T task<T>::fetch(detail::task_state& ended) {
  ended.throw_error();
  return static_cast<detail::task_result<T>&>(ended).take();
}

template <class T>
task_handle<T> task<T>::handle() const {
  return detail::task_access::make<task_handle<T>>(detail::task_ptr(&state()));
}

template <class T>
task_handle<T> task<T>::detach() {
  state();
  return detail::task_access::make<task_handle<T>>(std::exchange(state_, nullptr));
}

template <detail::body F>
task<detail::result_of<F>> spawn(std::string_view name, F&& callable, boost::source_location const& place) {
  auto made = detail::make_task(std::forward<F>(callable));
  detail::start(*made, name, place);
  return detail::task_access::make<task<detail::result_of<F>>>(std::move(made));
}

template <detail::body F>
task<detail::result_of<F>> spawn(F&& callable, boost::source_location const& place) {
  return spawn(std::string_view(), std::forward<F>(callable), place);
}

}  // namespace fibers
