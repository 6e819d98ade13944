// SPDX-License-Identifier: BSL-1.0
#pragma once

// The typed part of a task: its callable and the slot for its result, in the one block of memory that a task takes.

#include <cxxabi.h>

#include <concepts>
#include <fibers/detail/engine/task_state.hpp>
#include <functional>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

namespace fibers::detail {

/// The callable that spawn and the scopes take. It is called once, without arguments, as an rvalue.
template <class F>
concept body = std::invocable<std::decay_t<F>>;

/// A call that std::thread would accept. spawn() refuses it, because a pack of arguments leaves no parameter for the
/// call site, which the tree of tasks and the error texts name.
template <class F, class... Arguments>
concept body_with_arguments =
    !body<F> && sizeof...(Arguments) > 0 && std::invocable<std::decay_t<F>, std::decay_t<Arguments>...>;

/// False, but only when a template that depends on it is instantiated.
template <class...>
inline constexpr bool never = false;

template <body F>
using result_of = std::invoke_result_t<std::decay_t<F>>;

/// The result of a callable: a value, a reference or nothing.
template <class R>
class result_slot {
 public:
  static_assert(!std::is_rvalue_reference_v<R>, "an rvalue reference cannot be kept: return a value");

  template <class F, class... Arguments>
  void fill(F&& callable, Arguments&&... arguments) {
    if constexpr (std::is_void_v<R>) {
      std::invoke(std::forward<F>(callable), std::forward<Arguments>(arguments)...);
      value_.emplace();
    } else if constexpr (std::is_reference_v<R>) {
      value_ = &std::invoke(std::forward<F>(callable), std::forward<Arguments>(arguments)...);
    } else {
      value_.emplace(std::invoke(std::forward<F>(callable), std::forward<Arguments>(arguments)...));
    }
  }
  void clear() noexcept { value_.reset(); }
  bool filled() const noexcept { return value_.has_value(); }

  R move_out() {
    if constexpr (std::is_reference_v<R>) {
      return **value_;
    } else if constexpr (!std::is_void_v<R>) {
      return std::move(*value_);
    }
  }
  R copy() const requires(!std::is_void_v<R>) {
    if constexpr (std::is_reference_v<R>) {
      return **value_;
    } else {
      return *value_;
    }
  }

 private:
  using stored =
      std::conditional_t<std::is_void_v<R>, std::monostate,
                         std::conditional_t<std::is_reference_v<R>, std::remove_reference_t<R>*, std::remove_cv_t<R>>>;
  std::optional<stored> value_;
};

[[noreturn]] void throw_result_taken();

template <class R>
class task_result : public task_state {
 public:
  result_slot<R>& result() noexcept { return result_; }

  // --- once the task has returned; any thread ---

  /// Moves the result out. The second caller gets invalid_state_error.
  R take() {
    if (!take_result()) throw_result_taken();
    return result_.move_out();
  }
  /// Copies the result if that is possible, else takes it.
  R share() {
    if constexpr (std::is_reference_v<R>) {
      return result_.copy();
    } else if constexpr (std::is_copy_constructible_v<R>) {
      if (result_taken()) throw_result_taken();
      return result_.copy();
    } else if constexpr (!std::is_void_v<R>) {
      return take();
    }
  }

 private:
  void drop_value() noexcept final { result_.clear(); }

  result_slot<R> result_;
};

template <class F, class R>
class task_body final : public task_result<R> {
 public:
  template <class G>
  explicit task_body(G&& callable) : callable_(std::in_place, std::forward<G>(callable)) {}

 private:
  // The handlers stand here, in the frame of the body, since each frame that an exception passes costs 150 ns.
  // A forced unwind has no object: g++ binds the reference in the handler to null.
  __attribute__((no_sanitize("null"))) ending call() override {
    try {
      this->result().fill(std::move(*callable_));
      return ending::returned;
    } catch (cancelled_error const& error) {
      return this->keep(error);
    } catch (abi::__forced_unwind&) {
      this->refuse_forced_unwind();
    } catch (...) {
      return this->keep(std::current_exception());
    }
  }
  void drop_callable() noexcept override { callable_.reset(); }

  std::optional<F> callable_;
};

/// Throws std::invalid_argument for an empty std::function or a null pointer.
template <class F>
void check_callable(F const& callable) {
  if constexpr (!std::is_function_v<F> && requires { static_cast<bool>(callable == nullptr); }) {
    if (callable == nullptr) {
      throw std::invalid_argument("fibers: an empty callable was given; give a function that can be called");
    }
  }
}

template <body F>
boost::intrusive_ptr<task_result<result_of<F>>> make_task(F&& callable) {
  check_callable(callable);
  return new task_body<std::decay_t<F>, result_of<F>>(std::forward<F>(callable));
}

}  // namespace fibers::detail
