// SPDX-License-Identifier: BSL-1.0
#pragma once

// Runs several callables concurrently; the first that ends determines the result.
//
//   auto answer = fibers::race([] { return ask("a.example"); }, [] { return ask("b.example"); });

#include <cxxabi.h>

#include <atomic>
#include <boost/assert/source_location.hpp>
#include <concepts>
#include <cstddef>
#include <exception>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/error.hpp>
#include <fibers/gather.hpp>
#include <fibers/task_group.hpp>
#include <functional>
#include <type_traits>
#include <utility>
#include <variant>

namespace fibers {

namespace detail {

// The result type of a race: the common type, or a variant of the different types.
template <class... Types>
struct unique_variant;
template <class... Seen, class Next, class... More>
struct unique_variant<std::variant<Seen...>, Next, More...>
    : std::conditional_t<(std::is_same_v<Seen, Next> || ...), unique_variant<std::variant<Seen...>, More...>,
                         unique_variant<std::variant<Seen..., Next>, More...>> {};
template <class... Seen>
struct unique_variant<std::variant<Seen...>> {
  using type = std::variant<Seen...>;
};
template <class First, class... More>
struct race_result {
  using type = typename unique_variant<std::variant<>, value_of<First>, value_of<More>...>::type;
};
template <class First, class... More>
requires(std::same_as<First, More>&&...) struct race_result<First, More...> {
  using type = First;
};

/// The state that the callables of a race share.
class race_course {
 public:
  explicit race_course(boost::source_location const& place) : place_(place) {}

  /// Runs the callables that `start` spawns. Throws the winner's error, or cancelled_error if the caller was cancelled
  /// before there was a winner. Once there is a winner, a request stays pending.
  void run(std::function<void(task_group&)> const& start);

  /// Called by each callable at its end. Returns true for the winner, and cancels the others. A result wins even while
  /// the group is going down, so that a completed operation is not lost; an error does not.
  bool win(task_group& group, ending how);
  void failed(std::exception_ptr error) noexcept { error_ = std::move(error); }
  /// Called by a callable that was cancelled.
  void cut_short(cancelled_error const& by) noexcept { transferred_ += by.transferred(); }
  /// Called by a callable that failed and has not won.
  void report(std::exception_ptr const& error) const noexcept;

 private:
  boost::source_location const& place_;
  std::atomic<bool> won_ = false;
  std::exception_ptr error_;
  std::size_t transferred_ = 0;  // by the cancelled callables
};

template <class Result, class F>
auto racer(race_course& course, task_group& group, result_slot<Result>& result, F&& callable) {
  check_callable(callable);
  return [&course, &group, &result, callable = std::decay_t<F>(std::forward<F>(callable))]() mutable {
    using own = result_of<F>;
    result_slot<own> mine;
    try {
      mine.fill(std::move(callable));
    } catch (abi::__forced_unwind&) {
      throw;
    } catch (cancelled_error const& error) {
      course.cut_short(error);
      if (course.win(group, ending::cancelled)) course.failed(std::current_exception());
      throw;
    } catch (...) {
      auto const error = std::current_exception();
      if (course.win(group, ending::failed)) {
        course.failed(error);
      } else {
        course.report(error);
      }
      return;
    }
    if (!course.win(group, ending::returned)) return;
    result.fill([&]() -> Result {
      if constexpr (std::same_as<own, Result>) {
        return mine.move_out();
      } else if constexpr (std::is_void_v<own>) {
        return Result(std::in_place_type<std::monostate>);
      } else {
        return Result(std::in_place_type<value_of<own>>, mine.move_out());
      }
    });
  };
}

}  // namespace detail

/// Runs the callables concurrently, as tasks of a group. Returns the result or throws the error of the first that ends.
///
/// The winner's end cancels the others, and race() waits for them. Results of different types become a std::variant.
///
/// May suspend; cancellation point: if the caller is cancelled, so are all callables. If a callable has completed
/// nevertheless, race() returns its result, and the cancellation stays pending. A callable whose wait is cancelled
/// takes nothing, but if two callables complete at the same moment, the loser's result is lost: to take an item from
/// one of several queues, use get_any(). An interrupted operation of Asio may have transferred some bytes. If the race
/// is cancelled, cancelled_error::transferred() is the sum over all callables; a callable that may lose catches
/// cancelled_error and keeps its own count. Errors of losers go to the hook for unhandled exceptions.
template <detail::callable_body... F>
requires(sizeof...(F) > 0) auto race(F&&... callables) -> typename detail::race_result<detail::result_of<F>...>::type {
  boost::source_location const place(__FILE__, __LINE__, "fibers::race");
  detail::result_slot<typename detail::race_result<detail::result_of<F>...>::type> result;
  detail::race_course course(place);
  course.run([&](task_group& group) {
    (group.spawn(detail::racer(course, group, result, std::forward<F>(callables)), place), ...);
  });
  return result.move_out();
}

template <class... T>
void race(T&&...) {
  static_assert(detail::never<T...>, "race() takes one or more callables without parameters");
}

}  // namespace fibers
