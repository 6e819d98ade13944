// SPDX-License-Identifier: BSL-1.0
#pragma once

// Runs several callables, or awaits several tasks, and returns all results.
//
//   auto [page, picture] = fibers::gather([] { return fetch("page"); }, [] { return fetch("picture"); });
//   auto outcomes = fibers::gather(fibers::return_exceptions, tasks);  // one outcome for each task; no error is thrown
//
// Callables run as tasks of a group. The first callable that fails cancels the others; when all have ended, gather()
// throws its exception. Exceptions of the others' clean-up go to the hook for unhandled exceptions.
//
// Tasks and handles follow asyncio's rules: gather() throws the first error at once, and the other tasks continue.
//
// With return_exceptions, gather() waits for all in both cases, and returns an outcome for each.
//
// May suspend; cancellation point. If the caller is cancelled, the request is forwarded to all callables or tasks. Once
// all have ended (tasks without return_exceptions: once one has failed or was cancelled), gather() throws
// cancelled_error, or an error that the request led to. If all callables have completed their waits by then and return
// uninterrupted, gather() returns their results, and the cancellation stays pending.
//
// Results are in the order of the arguments. void becomes std::monostate, a reference std::reference_wrapper.

#include <cxxabi.h>

#include <algorithm>
#include <array>
#include <boost/assert/source_location.hpp>
#include <exception>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <fibers/outcome.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/wait.hpp>
#include <functional>
#include <list>
#include <ranges>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fibers {

struct return_exceptions_t {};
inline constexpr return_exceptions_t return_exceptions{};

namespace detail {

// --- types of arguments and results ---

template <class T>
concept callable_body = body<T> && !any_task<T>;
template <class Range>
concept callable_range = std::ranges::input_range<Range> && callable_body<std::ranges::range_reference_t<Range>>;

/// The type of a result as a member of a tuple or vector.
template <class R>
using value_of =
    std::conditional_t<std::is_void_v<R>, std::monostate,
                       std::conditional_t<std::is_reference_v<R>, std::reference_wrapper<std::remove_reference_t<R>>,
                                          std::remove_cv_t<R>>>;
template <class R>
using outcome_of = outcome<std::conditional_t<std::is_void_v<R>, void, value_of<R>>>;

// --- results of tasks that have ended ---

/// Returns the result of a task that has returned, as task_handle<T>::get() does.
template <class R>
value_of<R> take_value(task_state& ended) {
  if constexpr (std::is_void_v<R>) {
    return {};  // also of a task_handle<>, whose task may have a result
  } else {
    return static_cast<task_result<R>&>(ended).share();
  }
}

template <class R>
outcome_of<R> take_outcome(task_state& ended) {
  if (ended.ending() != ending::returned) return outcome_of<R>(ended.error());
  if constexpr (std::is_void_v<R>) {
    return {};
  } else {
    return take_value<R>(ended);
  }
}

enum class tolerate : bool { no, yes };

/// Waits until all tasks have ended; with tolerate::no, until one has failed or was cancelled, and throws its error.
/// Forwards the caller's cancellation to the tasks.
void wait_for_all(std::span<task_ptr const> tasks, tolerate errors, boost::source_location const& place);

// --- results of callables ---

/// Returns whether a child of a group has ended uninterrupted by a request of the group.
bool is_uninterrupted(task_base const& child);

/// The outcome of a callable. Its task catches errors, so the group does not see them.
template <class R>
class kept_outcome {
 public:
  template <class F>
  void start(task_group& group, F&& callable, boost::source_location const& place) {
    check_callable(callable);
    child_ = group.spawn(
        [this, callable = std::decay_t<F>(std::forward<F>(callable))]() mutable {
          try {
            result_.fill(std::move(callable));
          } catch (cancelled_error const&) {
            throw;
          } catch (abi::__forced_unwind&) {
            throw;
          } catch (...) {
            error_ = std::current_exception();
          }
        },
        place);
  }
  bool complete() const { return is_uninterrupted(child_); }
  outcome_of<R> take() {
    if (child_.cancelled()) error_ = task_access::state(child_)->error();
    if (error_ != nullptr) return outcome_of<R>(error_);
    if constexpr (std::is_void_v<R>) {
      return {};
    } else {
      return value_of<R>(result_.move_out());
    }
  }

 private:
  result_slot<R> result_;
  std::exception_ptr error_;
  task_handle<void> child_;
};

/// Runs `body` with a group. Throws the first error of a child without a wrapper, and reports the others. If the caller
/// is cancelled but `complete` returns true afterwards (each child has its result), the request stays pending.
void with_gather_group(std::function<void(task_group&)> const& body, std::function<bool()> const& complete,
                       boost::source_location const& place);

/// Returns the result of a child that has ended, or throws its cancelled_error.
template <class R>
value_of<R> take_child(task_handle<R> const& child) {
  auto& ended = *task_access::state(child);
  ended.throw_error();
  if constexpr (std::is_void_v<R>) {
    return {};
  } else {
    return static_cast<task_result<R>&>(ended).take();
  }
}

}  // namespace detail

// --- callables ---

/// Runs callables concurrently, and returns their results as a tuple.
///
/// May suspend; cancellation point. Throws the error of the first callable that fails, once all have ended.
template <detail::callable_body... F>
requires(sizeof...(F) > 0) std::tuple<detail::value_of<detail::result_of<F>>...> gather(F&&... callables) {
  boost::source_location const place(__FILE__, __LINE__, "fibers::gather");
  std::tuple<task_handle<detail::result_of<F>>...> children;
  detail::with_gather_group(
      [&](task_group& group) {
        children = std::tuple<task_handle<detail::result_of<F>>...>{group.spawn(std::forward<F>(callables), place)...};
      },
      [&] {
        return std::apply([](auto const&... child) { return (detail::is_uninterrupted(child) && ...); }, children);
      },
      place);
  return std::apply(
      [](auto const&... child) {
        return std::tuple<detail::value_of<detail::result_of<F>>...>{detail::take_child(child)...};
      },
      children);
}

/// Runs callables concurrently, and returns an outcome of each as a tuple.
///
/// May suspend; cancellation point.
template <detail::callable_body... F>
requires(sizeof...(F) > 0) std::tuple<detail::outcome_of<detail::result_of<F>>...> gather(return_exceptions_t,
                                                                                          F&&... callables) {
  boost::source_location const place(__FILE__, __LINE__, "fibers::gather");
  std::tuple<detail::kept_outcome<detail::result_of<F>>...> kept;
  detail::with_gather_group(
      [&](task_group& group) {
        std::apply([&](auto&... child) { (child.start(group, std::forward<F>(callables), place), ...); }, kept);
      },
      [&] { return std::apply([](auto const&... child) { return (child.complete() && ...); }, kept); }, place);
  return std::apply(
      [](auto&... child) { return std::tuple<detail::outcome_of<detail::result_of<F>>...>{child.take()...}; }, kept);
}

/// Runs the callables of a range concurrently, and returns their results as a vector.
///
/// May suspend; cancellation point. Throws the error of the first callable that fails, once all have ended.
template <detail::callable_range Range>
auto gather(Range&& callables, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  using result = detail::result_of<std::ranges::range_reference_t<Range>>;
  std::vector<task_handle<result>, detail::allocator<task_handle<result>>> children;
  detail::with_gather_group(
      [&](task_group& group) {
        for (auto&& callable : callables) {
          children.push_back(group.spawn(std::forward<decltype(callable)>(callable), place));
        }
      },
      [&] { return std::all_of(children.begin(), children.end(), detail::is_uninterrupted); }, place);
  std::vector<detail::value_of<result>> values;
  for (auto const& child : children) values.push_back(detail::take_child(child));
  return values;
}

/// Runs the callables of a range concurrently, and returns an outcome of each as a vector.
///
/// May suspend; cancellation point.
template <detail::callable_range Range>
auto gather(return_exceptions_t, Range&& callables, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  using result = detail::result_of<std::ranges::range_reference_t<Range>>;
  std::list<detail::kept_outcome<result>, detail::allocator<detail::kept_outcome<result>>> kept;
  detail::with_gather_group(
      [&](task_group& group) {
        for (auto&& callable : callables) {
          kept.emplace_back().start(group, std::forward<decltype(callable)>(callable), place);
        }
      },
      [&] { return std::all_of(kept.begin(), kept.end(), [](auto const& child) { return child.complete(); }); }, place);
  std::vector<detail::outcome_of<result>> outcomes;
  for (auto& child : kept) outcomes.push_back(child.take());
  return outcomes;
}

// --- tasks and handles ---

/// Waits for tasks or handles, and returns their results as a tuple.
///
/// May suspend; cancellation point. Throws the first error of a task at once; the other tasks continue.
template <detail::any_task... Task>
std::tuple<detail::value_of<detail::task_result_of<Task>>...> gather(Task&&... tasks) {
  std::array<detail::task_ptr, sizeof...(Task)> const shared{detail::task_access::checked(tasks)...};
  detail::wait_for_all(shared, detail::tolerate::no, boost::source_location(__FILE__, __LINE__, "fibers::gather"));
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::tuple<detail::value_of<detail::task_result_of<Task>>...>{
        detail::take_value<detail::task_result_of<Task>>(*shared[I])...};
  }
  (std::index_sequence_for<Task...>());
}

/// Waits for tasks or handles, and returns an outcome of each as a tuple.
///
/// May suspend; cancellation point.
template <detail::any_task... Task>
std::tuple<detail::outcome_of<detail::task_result_of<Task>>...> gather(return_exceptions_t, Task&&... tasks) {
  std::array<detail::task_ptr, sizeof...(Task)> const shared{detail::task_access::checked(tasks)...};
  detail::wait_for_all(shared, detail::tolerate::yes, boost::source_location(__FILE__, __LINE__, "fibers::gather"));
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::tuple<detail::outcome_of<detail::task_result_of<Task>>...>{
        detail::take_outcome<detail::task_result_of<Task>>(*shared[I])...};
  }
  (std::index_sequence_for<Task...>());
}

/// Waits for the tasks or handles of a range, and returns their results as a vector.
///
/// May suspend; cancellation point. Throws the first error of a task at once; the other tasks continue.
template <detail::task_range Range>
auto gather(Range&& tasks, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  using result = detail::task_result_of<std::ranges::range_reference_t<Range>>;
  auto const shared = detail::share(std::forward<Range>(tasks));
  detail::wait_for_all(shared, detail::tolerate::no, place);
  std::vector<detail::value_of<result>> values;
  for (auto const& task : shared) values.push_back(detail::take_value<result>(*task));
  return values;
}

/// Waits for the tasks or handles of a range, and returns an outcome of each as a vector.
///
/// May suspend; cancellation point.
template <detail::task_range Range>
auto gather(return_exceptions_t, Range&& tasks, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  using result = detail::task_result_of<std::ranges::range_reference_t<Range>>;
  auto const shared = detail::share(std::forward<Range>(tasks));
  detail::wait_for_all(shared, detail::tolerate::yes, place);
  std::vector<detail::outcome_of<result>> outcomes;
  for (auto const& task : shared) outcomes.push_back(detail::take_outcome<result>(*task));
  return outcomes;
}

// --- diagnostics for other arguments ---

template <class... T>
void gather(T&&...) {
  static_assert(detail::never<T...>, "gather() takes callables without parameters, or tasks, or one range of either");
}

}  // namespace fibers
