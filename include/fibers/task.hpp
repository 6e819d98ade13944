// SPDX-License-Identifier: BSL-1.0
#pragma once

// A task: a callable that runs on a fiber of its own, and can be asked to stop.
//
//   auto download = fibers::spawn("download", [] { return fetch("…"); });
//   fibers::sleep_for(1s);
//   download.cancel();           // asks: download gets a cancelled_error at its next suspension point
//   auto page = download.get();  // waits; gives the result, or throws what left the task
//
// task<T> owns: when it goes, its task is cancelled and waited for, so a task never outlives what its callable refers
// to. task_handle<T> shares and owns nothing.

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

/// Does a wait for tasks pass the caller's cancellation on to them?
enum class pass_on : bool { no, yes };
/// Waits for the end of a task. Suspends. If a request was passed on and the task ended cancelled: throw_passed_on().
void join(task_state& target, pass_on forward, boost::source_location const& place);
/// Throws the cancelled_error with which a task ended to which `self` had passed its own request on.
[[noreturn]] void throw_passed_on(task_state& self, task_state& target);

}  // namespace detail

/// Refers to a callback that was registered with on_done(), and can remove it before it is called. Copies refer to the
/// same callback. Destroying a handle changes nothing.
class callback_handle {
 public:
  callback_handle() = default;

  /// Removes the callback. True if it will never be called; false if it was called or removed before, is being called
  /// just now, or there is none. The callable is destroyed before this returns true. Does not suspend. Thread-safe.
  /// O(1).
  bool remove() noexcept;

 private:
  friend detail::task_base;
  explicit callback_handle(detail::callback_ptr callback) noexcept : callback_(std::move(callback)) {}
  detail::callback_ptr callback_;
};

namespace detail {

/// What tasks and handles have in common. On an empty one (moved from, detached, made without a task) every function
/// throws invalid_state_error. What does not suspend may be called by any thread; what does, by any task of any loop.
class task_base {
 public:
  /// Does it refer to a task?
  explicit operator bool() const noexcept { return state_ != nullptr; }

  /// Asks the task to stop: it gets a cancelled_error with this message where it is suspended, else at its next
  /// suspension point; if it waits in get() for another task, that one is asked instead, and so on. False, and nothing
  /// has changed, if it has ended. Does not suspend. Any thread.
  bool cancel(std::string_view message = {}, boost::source_location const& place = BOOST_CURRENT_LOCATION) const;

  /// Waits for the end, whatever it is, and throws nothing of it. Suspends; if the caller is cancelled, cancelled_error
  /// comes out at once, and the task notices nothing.
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) const;

  /// cancel() and wait(): the safe way to stop a task, since only the caller's own cancellation comes out.
  void cancel_and_wait(boost::source_location const& place = BOOST_CURRENT_LOCATION) const;

  /// Has it ended?
  bool done() const;
  /// Has it ended by a cancelled_error?
  bool cancelled() const;
  /// How many requests to stop were made and not taken back.
  int cancelling() const;

  /// What left the task; null if it returned. Throws invalid_state_error if it has not ended, and cancelled_error if it
  /// was cancelled.
  std::exception_ptr exception() const;

  /// As given to spawn() or set later, else "task-1" and so on.
  std::string name() const;
  void name(std::string name) const;
  task_id id() const;

  /// Calls `callback` once the task has ended, or soon if it has.
  ///
  /// It is called on the task's loop, between tasks, so it must not suspend; callbacks of a task are called in the
  /// order of their registration. It may take a task_handle<>. What it throws goes to the hook for unhandled
  /// exceptions. If the task has ended and this thread runs no loop, it is called before on_done() returns. The handle
  /// that is returned can remove it. Thread-safe. O(1).
  template <class Callback>
  callback_handle on_done(Callback callback) const;

 protected:
  task_base() = default;
  explicit task_base(task_ptr state) noexcept : state_(std::move(state)) {}
  task_state& state() const;
  /// Waits for the end, passing the caller's cancellation on. Shares in the task: the handle may go meanwhile.
  task_ptr join(boost::source_location const& place) const;
  /// For a task<> that goes away.
  void end_owned() noexcept {
    if (state_ != nullptr && !state_->finished()) end_unfinished();
  }

  task_ptr state_;

 private:
  friend task_access;
  void end_unfinished() noexcept;
};

}  // namespace detail

/// Refers to a task and shares its outcome. Copies refer to the same task, which does not care whether any are left.
template <class T = detail::any_result>
class task_handle : public detail::task_base {
 public:
  task_handle() = default;

  /// Waits, and gives a copy of the result or throws what left the task. A result that cannot be copied is moved out,
  /// once. Suspends; if the caller is cancelled, the request is passed on to the task, and what becomes of it comes out
  /// here.
  T get(boost::source_location const& place = BOOST_CURRENT_LOCATION) const { return fetch(*join(place)); }

 private:
  friend detail::task_access;
  explicit task_handle(detail::task_ptr state) noexcept : task_base(std::move(state)) {}
  static T fetch(detail::task_state& ended);
};

/// A handle of a task with any result.
template <>
class task_handle<detail::any_result> : public detail::task_base {
 public:
  task_handle() = default;
  template <class T>
  task_handle(task_handle<T> const& handle) noexcept : task_base(handle) {}

  /// Waits, and throws what left the task. Suspends, as task_handle<T>::get().
  void get(boost::source_location const& place = BOOST_CURRENT_LOCATION) const { fetch(*join(place)); }

 private:
  friend detail::task_access;
  explicit task_handle(detail::task_ptr state) noexcept : task_base(std::move(state)) {}
  static void fetch(detail::task_state& ended) { ended.throw_error(); }
};

/// Owns a task. Move-only. task<> is task<void>.
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

  /// If the task has not ended: cancels it and waits for its end. Suspends, and no cancellation cuts that short. On a
  /// thread that runs no loop the thread waits; in a callback of a loop the task is only cancelled.
  ~task() { end_owned(); }

  /// Waits, and moves the result out or throws what left the task. Suspends; if the caller is cancelled, the request is
  /// passed on to the task, and what becomes of it comes out here. The result can be had once: a second get() throws
  /// invalid_state_error. Handles give copies.
  T get(boost::source_location const& place = BOOST_CURRENT_LOCATION) { return fetch(*join(place)); }

  task_handle<T> handle() const;

  /// Lets go of it: the task is its loop's now, which cancels it at the end of run(). This task<> is empty then.
  task_handle<T> detach();

 private:
  friend detail::task_access;
  explicit task(detail::task_ptr state) noexcept : task_base(std::move(state)) {}
  static T fetch(detail::task_state & ended);
};

/// Makes a task of a callable. It is ready, and begins when the spawner suspends or ends; it inherits the spawner's
/// task_locals. Does not suspend. Throws invalid_state_error outside of run(), std::invalid_argument for an empty
/// callable, std::bad_alloc. If there is no memory for its stack when it begins, the task fails with std::bad_alloc.
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

// --- implementation ---

namespace detail {

/// For the rooms built on tasks.
struct task_access {
  template <class Handle>
  static Handle make(task_ptr state) noexcept {
    return Handle(std::move(state));
  }
  static task_ptr const& state(task_base const& handle) noexcept { return handle.state_; }
  static task_ptr checked(task_base const& handle) { return task_ptr(&handle.state()); }
  /// What get() gives, of a task that has ended. Looks for no request to cancel.
  template <class Handle>
  static auto fetch(Handle& handle, task_state& ended) -> decltype(handle.get()) {
    return Handle::fetch(ended);
  }
};

/// Gives a new task to the running loop.
void start(task_state& task, std::string_view name, boost::source_location const& place);

void call_when_done(task_state& task, callback_ptr const& callback);

[[noreturn]] void throw_result_taken();

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
  auto& result = static_cast<detail::task_result<T>&>(ended);
  if constexpr (std::is_void_v<T>) {
    return;
  } else if constexpr (std::is_reference_v<T> || std::is_copy_constructible_v<T>) {
    if (result.result_taken() && !std::is_reference_v<T>) detail::throw_result_taken();
    return result.result().copy();
  } else {
    if (!result.take_result()) detail::throw_result_taken();
    return result.result().move_out();
  }
}

template <class T>
T task<T>::fetch(detail::task_state& ended) {
  ended.throw_error();
  auto& result = static_cast<detail::task_result<T>&>(ended);
  if (!result.take_result()) detail::throw_result_taken();
  return result.result().move_out();
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
