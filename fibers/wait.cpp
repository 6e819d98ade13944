// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/timer.hpp>
#include <fibers/timeout.hpp>
#include <fibers/wait.hpp>
#include <mutex>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include "detail/engine/loop.hpp"

namespace fibers::detail {

namespace {

bool is_enough(until enough, task_state const& ended) noexcept {
  switch (enough) {
    case until::all:
      return false;
    case until::one:
      return true;
    case until::one_failed:
      return ended.ending() == ending::failed;
    case until::one_failed_or_cancelled:
      return ended.ending() != ending::returned;
  }
  return false;
}

// One wait for the ends of several tasks, which may end on several threads at once.
class ends_watch {
 public:
  ends_watch(waiter& w, until enough, std::size_t tasks) noexcept : waiter_(w), enough_(enough), left_(tasks + 1) {}

  void ended(task_state& task) noexcept {
    if (is_enough(enough_, task)) {
      task_state* nobody = nullptr;
      decisive_.compare_exchange_strong(nobody, &task);
      notify();
    } else if (left_.fetch_sub(1) == 1) {
      notify();
    }
  }

  /// Called after all observers are registered; this many tasks had ended before. Returns true if no task is left.
  bool begin(std::size_t ended_before) noexcept { return left_.fetch_sub(ended_before + 1) == ended_before + 1; }

  task_state* decisive() const noexcept { return decisive_.load(); }

 private:
  void notify() noexcept {
    if (waiter_.try_claim(claim::notified)) wake(waiter_);
  }

  waiter& waiter_;
  until const enough_;
  atomic<std::size_t> left_;
  atomic<task_state*> decisive_ = nullptr;
};

struct ends_observer final : end_observer {
  void ended(task_state& task) noexcept override { watch->ended(task); }
  ends_watch* watch = nullptr;
};

// Ends a wait at its deadline, after all other timers that are due at that time.
struct deadline_timer final : timer {
  deadline_timer(waiter& w, timer_queue& q) noexcept : timer(&expire), sleeper(w), queue(q) {}
  ~deadline_timer() {
    if (armed()) queue.remove(*this);
  }
  deadline_timer(deadline_timer const&) = delete;
  deadline_timer& operator=(deadline_timer const&) = delete;

  static void expire(timer& due) noexcept {
    auto& self = static_cast<deadline_timer&>(due);
    if (!self.went_behind) {
      self.went_behind = true;
      self.queue.add(self, self.when);
    } else if (self.sleeper.try_claim(claim::notified)) {
      wake(self.sleeper);
    }
  }

  waiter& sleeper;
  timer_queue& queue;
  bool went_behind = false;
};

void refuse_self(task_state const& self, task_state& awaited, boost::source_location const& place) {
  if (&awaited != &self) return;
  throw invalid_state_error("fibers: task '" + awaited.name() + "' would wait for its own end; leave it out (" +
                            to_string(place) + ")");
}

}  // namespace

task_state* wait_for_ends(std::span<task_ptr const> tasks, until enough, pass_on forward, time_point deadline,
                          boost::source_location const& place) {
  auto& self = enter(place);
  std::vector<task_state*, allocator<task_state*>> targets;
  for (auto const& task : tasks) {
    refuse_self(self, *task, place);
    if (task->finished() && is_enough(enough, *task)) return task.get();
    targets.push_back(task.get());
  }

  forwarding_waiter forwarding(self, place, targets);
  plain_waiter plain(self, place);
  auto& w = forward == pass_on::yes ? static_cast<waiter&>(forwarding) : plain;
  auto& awaited = *forwarding.awaited();
  ends_watch watch(w, enough, targets.size());
  std::vector<ends_observer, allocator<ends_observer>> observers(targets.size());
  std::size_t ended_before = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    observers[i].watch = &watch;
    if (!targets[i]->observe(observers[i])) ++ended_before;
  }

  auto how = claim::notified;
  if (!watch.begin(ended_before)) {
    deadline_timer timer(w, self.loop().timers());
    if (deadline != time_point::max()) {
      self.loop().timers().add(timer, deadline);
      if (deadline <= clock::now()) self.loop().end_turn();
    }
    how = suspend(w);
  }
  for (std::size_t i = 0; i < targets.size(); ++i) targets[i]->unobserve(observers[i]);
  settle(self, how);
  auto* const decisive = watch.decisive();
  if (awaited.forwarded && decisive != nullptr && decisive->ending() == ending::cancelled)
    throw_passed_on(self, *decisive);
  if (awaited.forwarded && decisive == nullptr) {
    awaited.error.of(self.id());
    throw awaited.error;
  }
  return decisive;
}

void remove_duplicates(task_list& tasks) {
  std::unordered_set<task_state*, std::hash<task_state*>, std::equal_to<>, allocator<task_state*>> seen;
  std::erase_if(tasks, [&](task_ptr const& task) { return !seen.insert(task.get()).second; });
}

wait_result wait(task_list tasks, return_when when, time_point deadline, boost::source_location const& place) {
  if (tasks.empty()) {
    throw std::invalid_argument("fibers: wait() for no tasks at all would never be over (" + to_string(place) + ")");
  }
  remove_duplicates(tasks);
  auto const enough = when == return_when::first_completed   ? until::one
                      : when == return_when::first_exception ? until::one_failed
                                                             : until::all;
  wait_for_ends(tasks, enough, pass_on::no, deadline, place);
  wait_result result;
  for (auto& task : tasks) {
    auto& part = task->finished() ? result.done : result.pending;
    part.push_back(task_access::make<task_handle<>>(std::move(task)));
  }
  return result;
}

void cancel_and_wait(task_list tasks, boost::source_location const& place) {
  remove_duplicates(tasks);
  auto const& self = this_task_state(place);
  for (auto const& task : tasks) refuse_self(self, *task, place);
  cancel_round const round;  // tasks of the range that wait for each other are asked once, too
  auto const request = make_request({}, cancel_origin::kind::by_hand, place);
  for (auto const& task : tasks) {
    if (!request_cancel(*task, request, round)) task->looked_at();  // the canceller does not need the outcome
  }
  wait_for_ends(tasks, until::all, pass_on::no, time_point::max(), place);
}

// --- as_completed ---

completion_queue::completion_queue(task_list tasks, time_point deadline)
    : entries_((remove_duplicates(tasks), tasks.size())), deadline_(deadline), left_(tasks.size()) {
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    entries_[i].queue = this;
    entries_[i].task = std::move(tasks[i]);
    if (!entries_[i].task->observe(entries_[i])) entries_[i].ended(*entries_[i].task);
  }
}

completion_queue::~completion_queue() {
  for (auto& each : entries_) {
    if (each.task != nullptr) each.task->unobserve(each);
  }
}

void completion_queue::entry::ended(task_state&) noexcept {
  owed_wakes woken;
  std::scoped_lock const guard(queue->lock_);
  auto* const first = queue->waiters_.notify_first(woken);
  if (first == nullptr) {
    (queue->oldest_ == nullptr ? queue->oldest_ : queue->newest_->next) = this;
    queue->newest_ = this;
    return;
  }
  first->given = std::move(task);
  if (--queue->left_ == 0) queue->waiters_.notify_all(woken);
}

task_ptr completion_queue::next(boost::source_location const& place) {
  auto& self = enter(place);
  return with_timeout_at(
      deadline_,
      [&]() -> task_ptr {
        std::unique_lock guard(lock_);
        if (left_ == 0) return nullptr;
        if (oldest_ != nullptr) {
          --left_;
          return std::move(std::exchange(oldest_, oldest_->next)->task);
        }
        simple_waiter<completion_taker> w(self, place, waiters_);
        w.wait(guard);
        return std::move(w.given);
      },
      place);
}

}  // namespace fibers::detail
