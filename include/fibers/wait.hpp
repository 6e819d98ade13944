// SPDX-License-Identifier: BSL-1.0
#pragma once

// Waits for several tasks that are independent of the caller: their errors are not thrown, a cancellation of the caller
// is not forwarded to them, and tasks that have not ended continue.
//
//   auto [done, pending] = fibers::wait(tasks, fibers::return_when::first_completed, 2s);
//   for (auto task : fibers::as_completed(tasks)) use(task.get());  // in the order of their ends

#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/task.hpp>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace fibers {

enum class return_when {
  first_completed,  ///< one has ended
  first_exception,  ///< one has failed (being cancelled is not failing), or all have ended
  all_completed,    ///< all have ended
};

struct wait_result {
  std::vector<task_handle<>> done, pending;  // in the order of the arguments, each once
};

namespace detail {

template <class T>
struct task_traits {
  static constexpr bool is_task = false;
};
template <class T>
struct task_traits<task<T>> {
  static constexpr bool is_task = true;
  using result = T;
};
template <class T>
struct task_traits<task_handle<T>> {
  static constexpr bool is_task = true;
  using result = T;
};
template <>
struct task_traits<task_handle<any_result>> {
  static constexpr bool is_task = true;
  using result = void;
};

/// A task<T> or task_handle<T>, or a reference to one.
template <class T>
concept any_task = task_traits<std::remove_cvref_t<T>>::is_task;
template <any_task Task>
using task_result_of = typename task_traits<std::remove_cvref_t<Task>>::result;
template <class Range>
concept task_range = std::ranges::input_range<Range> && any_task<std::ranges::range_reference_t<Range>>;

using task_list = std::vector<task_ptr, allocator<task_ptr>>;

/// Returns shared owners of the tasks of a range, in order. A task<> that a view creates would be destroyed here: it is
/// detached. Throws invalid_state_error for an empty handle.
template <task_range Range>
task_list share(Range&& tasks) {
  task_list shared;
  for (auto&& task : tasks) {
    shared.push_back(task_access::checked(task));
    if constexpr (!std::is_reference_v<std::ranges::range_reference_t<Range>> && requires { task.detach(); }) {
      task.detach();
    }
  }
  return shared;
}

/// Keeps the first of each.
void remove_duplicates(task_list& tasks);

/// The condition that ends a wait for several tasks before all have ended.
enum class until : unsigned char { all, one, one_failed, one_failed_or_cancelled };

/// Waits for tasks until all have ended, `enough` holds, or the deadline has passed. Returns the task that made
/// `enough` hold; otherwise null.
///
/// May suspend; cancellation point: with pass_on::yes the request is forwarded to the tasks, and thrown at the end of
/// the wait unless a task has failed. Tasks that end at the deadline count as ended.
task_state* wait_for_ends(std::span<task_ptr const> tasks, until enough, pass_on forward, time_point deadline,
                          boost::source_location const& place);

wait_result wait(task_list tasks, return_when when, time_point deadline, boost::source_location const& place);

}  // namespace detail

/// Waits for the tasks or handles of a range until `when` holds or the limit has passed. Duplicates count once.
///
/// May suspend; cancellation point: a cancellation does not affect the tasks. Throws std::invalid_argument for an empty
/// range. Complexity: O(n) for n tasks, also if one of them has ended already. To take many tasks one by one, use
/// as_completed(): O(1) for each.
template <detail::task_range Range>
wait_result wait(Range&& tasks, return_when when = return_when::all_completed, std::optional<time_limit> limit = {},
                 boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::wait(detail::share(std::forward<Range>(tasks)), when,
                      limit.has_value() ? limit->from_now() : time_point::max(), place);
}

namespace detail {
void cancel_and_wait(task_list tasks, boost::source_location const& place);
}  // namespace detail

/// Cancels all tasks or handles of a range, then waits until all have ended. The safe way to stop several tasks.
///
/// May suspend; cancellation point: a cancelled caller stops waiting, after the tasks were cancelled. The tasks clean
/// up concurrently, while the destructor of a vector<task<>> ends one after the other. Throws only the caller's own
/// cancelled_error; invalid_state_error, with no task cancelled, if the range contains an empty handle or the caller
/// itself. Complexity: O(n).
template <detail::task_range Range>
void cancel_and_wait(Range&& tasks, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::cancel_and_wait(detail::share(std::forward<Range>(tasks)), place);
}

// --- as_completed ---

namespace detail {

/// A task that waits for the next one to end.
struct completion_taker : wait_entry {
  using wait_entry::wait_entry;
  task_ptr given = {};  // null after a wake: no task is left
};

/// Ended tasks that were not returned yet, in the order of their ends.
class completion_queue : public from_memory {
 public:
  completion_queue(task_list tasks, time_point deadline);
  ~completion_queue();
  completion_queue(completion_queue const&) = delete;
  completion_queue& operator=(completion_queue const&) = delete;

  /// Returns the next ended task; null if all were returned. May suspend; cancellation point. Throws timeout_error.
  task_ptr next(boost::source_location const& place);

 private:
  struct entry final : end_observer {
    void ended(task_state&) noexcept override;
    completion_queue* queue = nullptr;
    task_ptr task;  // until the task is handed over
    entry* next = nullptr;
  };

  std::vector<entry, allocator<entry>> entries_;
  time_point const deadline_;
  spinlock lock_;            // guards what follows
  entry* oldest_ = nullptr;  // of the ended tasks; if there is any, no waiter is linked
  entry* newest_ = nullptr;
  std::size_t left_;  // to hand over
  wait_list<completion_taker> waiters_{lock_};
};

}  // namespace detail

/// The result of as_completed(): an input range of handles. Several tasks may call next() instead.
///
/// The increment may suspend. An interrupted iteration can be continued. The range shares the ownership of a task until
/// it returns the handle, so a result lives no longer than the caller's handles.
template <class T>
class completed_tasks {
 public:
  completed_tasks(detail::task_list tasks, time_point deadline)
      : queue_(std::make_unique<detail::completion_queue>(std::move(tasks), deadline)) {}

  /// Returns the next task that has ended; empty when all were returned.
  ///
  /// May suspend; cancellation point: no task is lost, and the tasks are not affected. Throws timeout_error after the
  /// limit.
  std::optional<task_handle<T>> next(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
    auto task = queue_->next(place);
    if (task == nullptr) return {};
    return detail::task_access::make<task_handle<T>>(std::move(task));
  }

  class iterator {
   public:
    using value_type = task_handle<T>;
    using difference_type = std::ptrdiff_t;

    iterator() = default;
    explicit iterator(completed_tasks& range) : range_(&range), current_(range.next()) {}
    task_handle<T> const& operator*() const { return *current_; }
    task_handle<T> const* operator->() const { return &*current_; }
    iterator& operator++() {
      current_ = range_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(iterator const& i, std::default_sentinel_t) { return !i.current_.has_value(); }

   private:
    completed_tasks* range_ = nullptr;
    std::optional<task_handle<T>> current_;
  };

  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  std::unique_ptr<detail::completion_queue> queue_;
};

/// Returns a range of handles of the tasks, each once, in the order of their ends.
///
/// Does not suspend; the increment may. After the limit, the increment throws timeout_error, and the tasks continue.
template <detail::task_range Range>
auto as_completed(Range&& tasks, std::optional<time_limit> limit = {}) {
  using element = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;
  using result =
      std::conditional_t<std::is_same_v<element, task_handle<>>, detail::any_result, detail::task_result_of<element>>;
  return completed_tasks<result>(detail::share(std::forward<Range>(tasks)),
                                 limit.has_value() ? limit->from_now() : time_point::max());
}

}  // namespace fibers
