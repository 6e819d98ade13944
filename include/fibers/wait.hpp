// SPDX-License-Identifier: BSL-1.0
#pragma once

// Waits for several tasks that are independent of the caller: their errors are not thrown, a cancellation of the caller
// does not reach them, and tasks that are still running afterwards go on.
//
//   auto [done, pending] = fibers::wait(tasks, fibers::return_when::first_completed, 2s);
//   for (auto task : fibers::as_completed(tasks)) use(task.get());  // in the order in which they end

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

/// Each once.
void remove_duplicates(task_list& tasks);

/// What ends a wait for several tasks, besides the end of all.
enum class until : unsigned char { all, one, one_failed, one_failed_or_cancelled };

/// Waits. Tasks that end at the deadline count as ended. May suspend. Returns the first task that has ended the wait
/// before all had ended, if any. With pass_on::yes a cancellation request is forwarded to the tasks, and thrown when
/// all have ended.
task_state* wait_for_ends(std::span<task_ptr const> tasks, until enough, pass_on forward, time_point deadline,
                          boost::source_location const& place);

wait_result wait(task_list tasks, return_when when, time_point deadline, boost::source_location const& place);

}  // namespace detail

/// Waits for tasks or handles of a range until `when` or the limit is reached. Duplicates count once.
///
/// May suspend; cancellation point; if cancelled, the tasks notice nothing. Throws std::invalid_argument for an empty
/// range. Complexity: O(n) for n tasks, also if one of them has ended already. To take many tasks one by one,
/// as_completed() costs O(1) for each.
template <detail::task_range Range>
wait_result wait(Range&& tasks, return_when when = return_when::all_completed, std::optional<time_limit> limit = {},
                 boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::wait(detail::share(std::forward<Range>(tasks)), when,
                      limit.has_value() ? limit->from_now() : time_point::max(), place);
}

namespace detail {
void cancel_and_wait(task_list tasks, boost::source_location const& place);
}  // namespace detail

/// Cancels all tasks or handles of a range, and then waits until all have ended.
///
/// The safe way to stop several tasks: only the caller's own cancellation comes out. The tasks clean up at the same
/// time, while the destructor of a vector<task<>> ends them one after the other. May suspend; cancellation point: a
/// cancelled caller has cancelled all tasks, and stops waiting. Throws invalid_state_error, and has cancelled none, if
/// the range has an empty handle or the caller itself. Complexity: O(n).
template <detail::task_range Range>
void cancel_and_wait(Range&& tasks, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  detail::cancel_and_wait(detail::share(std::forward<Range>(tasks)), place);
}

// --- as_completed ---

namespace detail {

/// A task that waits for the next one to end.
struct completion_taker : wait_entry {
  using wait_entry::wait_entry;
  task_ptr given = {};  // null after a wake: there are no more
};

/// Ended tasks that were not returned yet, in the order in which they ended.
class completion_queue : public from_memory {
 public:
  completion_queue(task_list tasks, time_point deadline);
  ~completion_queue();
  completion_queue(completion_queue const&) = delete;
  completion_queue& operator=(completion_queue const&) = delete;

  /// Returns the next one; null if all were returned. May suspend; throws timeout_error.
  task_ptr next(boost::source_location const& place);

 private:
  struct entry final : end_observer {
    void ended(task_state&) noexcept override;
    completion_queue* queue = nullptr;
    task_ptr task;  // until it is handed out
    entry* next = nullptr;
  };

  std::vector<entry, allocator<entry>> entries_;
  time_point const deadline_;
  spinlock lock_;            // guards what follows
  entry* oldest_ = nullptr;  // of those that have ended; if there are any, no task waits
  entry* newest_ = nullptr;
  std::size_t left_;  // to hand out
  wait_list<completion_taker> waiters_{lock_};
};

}  // namespace detail

/// What as_completed() returns: a range to iterate once, whose increment may suspend; or call next(), also from several
/// tasks at once. Iteration can be interrupted and continued. The range shares ownership of a task until it returns its
/// handle, so a result lives no longer than the handles that the caller keeps.
template <class T>
class completed_tasks {
 public:
  completed_tasks(detail::task_list tasks, time_point deadline)
      : queue_(std::make_unique<detail::completion_queue>(std::move(tasks), deadline)) {}

  /// Returns the next task that has ended; empty when there are no more.
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

/// Returns a range of handles of the tasks, each once, in the order in which they end. After the limit, the increment
/// throws timeout_error; the tasks go on. Does not suspend by itself.
template <detail::task_range Range>
auto as_completed(Range&& tasks, std::optional<time_limit> limit = {}) {
  using element = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;
  using result =
      std::conditional_t<std::is_same_v<element, task_handle<>>, detail::any_result, detail::task_result_of<element>>;
  return completed_tasks<result>(detail::share(std::forward<Range>(tasks)),
                                 limit.has_value() ? limit->from_now() : time_point::max());
}

}  // namespace fibers
