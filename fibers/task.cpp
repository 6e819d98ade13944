// SPDX-License-Identifier: BSL-1.0

#include <exception>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/task.hpp>
#include <memory>

#include "detail/engine/loop.hpp"

namespace fibers::detail {

namespace {

// Wakes one waiter at the end of a task.
class join_observer final : public end_observer {
 public:
  explicit join_observer(waiter& w) noexcept : waiter_(w) {}
  void ended(task_state&) noexcept override {
    if (waiter_.try_claim(claim::notified)) wake(waiter_);
  }

 private:
  waiter& waiter_;
};

// Unparks a waiter without a loop: its thread, or only its Boost fiber if loops park as Boost fibers here.
class outside_observer final : public end_observer {
 public:
  void ended(task_state&) noexcept override {
    over_.store(true);
    here().unpark();
  }
  void wait() {
    while (!over_.load()) here().park(time_point::max());
  }

 private:
  static std::unique_ptr<parker> chosen() noexcept try {
    return parker_of_this_thread();
  } catch (std::exception const&) {
    return nullptr;
  }
  parker& here() noexcept { return chosen_ != nullptr ? *chosen_ : thread_; }

  thread_parker thread_;
  std::unique_ptr<parker> const chosen_ = chosen();
  atomic<bool> over_ = false;
};

claim wait_for_end(task_state& target, waiter& w) noexcept {
  join_observer observer(w);
  if (!target.observe(observer)) return claim::notified;
  auto const how = suspend(w);
  if (how != claim::notified) target.unobserve(observer);
  return how;
}

// The last wait closes a cycle, so only a task that is awaited can close one, with a target that waits. Requests are
// forwarded, and cycles found, within one loop.
bool may_close_cycle(task_state& self, task_state& target) noexcept {
  return &target.loop() == &self.loop() && target.stage() == stage::suspended && self.observed();
}

// Throws if waiting for `target` would be a deadlock, because `target` waits for `self`.
void refuse_cycle(task_state& self, task_state& target) {
  std::string names = std::string("'").append(self.name()).append("'");
  wait_path path(target);
  do {
    names.append(" -> '").append(path.task().name()).append("'");
    if (&path.task() == &self) {
      throw invalid_state_error("fibers: this task would wait for its own end: " + names +
                                "; let one of them wait for something else, such as an event");
    }
  } while (path.go_on());
}

}  // namespace

void throw_passed_on(task_state& self, task_state& target) {
  target.looked_at();
  auto request = target.cancelled();
  request.of(self.id());
  throw request;
}

void join(task_state& target, pass_on forward, boost::source_location const& place) {
  if (target.finished() && running_task() == nullptr) return;  // valid in a callback and on a thread without a loop
  auto& self = enter(place);
  if (target.finished()) return;
  if (&self == &target || (forward == pass_on::yes && may_close_cycle(self, target))) refuse_cycle(self, target);
  if (forward == pass_on::no) {
    plain_waiter w(self, place);
    return settle(self, wait_for_end(target, w));
  }
  task_state* const tasks[] = {&target};
  forwarding_waiter w(self, place, tasks);
  settle(self, wait_for_end(target, w));
  if (w.awaited()->forwarded && target.ending() == ending::cancelled) throw_passed_on(self, target);
}

void start(task_state& task, std::string_view name, boost::source_location const& place) {
  auto* const here = loop::current();
  if (here == nullptr) {
    throw invalid_state_error("fibers: a task needs a loop to run on: call spawn() inside of fibers::run([] { … }) (" +
                              to_string(place) + ")");
  }
  if (!name.empty()) task.name(std::string(name));
  here->add(task, place);
}

void call_when_done(task_state& task, callback_ptr const& callback) {
  if (task.add_callback(*callback)) return;
  if (auto* const here = loop::current()) {
    callback_list due;
    due.push(*callback);
    here->call_back_later(due);
  } else if (callback->try_claim()) {
    callback->call();
    callback->drop();
  }
}

void throw_result_taken() {
  throw invalid_state_error(
      "fibers: the result of this task was moved out by an earlier get(); keep it, or take copies with "
      "task_handle<>::get() before");
}

task_state& task_base::state() const {
  if (state_ == nullptr) {
    throw invalid_state_error(
        "fibers: this task or handle is empty: it was moved from or detached, or never had a task");
  }
  return *state_;
}

task_ptr task_base::join(boost::source_location const& place) const {
  task_ptr keep(&state());
  detail::join(*keep, pass_on::yes, place);
  return keep;
}

bool task_base::cancel(std::string_view message, boost::source_location const& place) const {
  if (state().finished()) {
    state().looked_at();  // the canceller does not need the outcome
    return false;
  }
  return request_cancel(state(), make_request(message, cancel_origin::kind::by_hand, place));
}

void task_base::wait(boost::source_location const& place) const {
  task_ptr const keep(&state());
  detail::join(*keep, pass_on::no, place);
}

void task_base::cancel_and_wait(boost::source_location const& place) const {
  cancel({}, place);
  wait(place);
}

bool task_base::done() const { return state().finished(); }

bool task_base::cancelled() const { return state().finished() && state().ending() == ending::cancelled; }

int task_base::cancelling() const { return static_cast<int>(state().cancels().count()); }

std::exception_ptr task_base::exception() const {
  if (!state().finished()) {
    throw invalid_state_error("fibers: the task '" + state().name() + "' has not ended: wait() for it first");
  }
  if (state().ending() == ending::cancelled) state().throw_error();
  return state().error();
}

std::string task_base::name() const { return state().name(); }
void task_base::name(std::string name) const { state().name(std::move(name)); }
task_id task_base::id() const { return state().id(); }

void task_base::end_unfinished() noexcept {
  auto* const self = running_task();
  request_cancel(*state_, make_request({}, cancel_origin::kind::owner, state_->spawned_at()), cancel_round(self));
  if (self == state_.get()) return;  // the task itself destroys its owner, and ends after this
  if (self != nullptr) {
    uncancellable_waiter w(*self, state_->spawned_at());
    static_cast<void>(wait_for_end(*state_, w));
  } else if (loop::current() == nullptr) {
    outside_observer observer;
    if (state_->observe(observer)) observer.wait();
    state_->unobserve(observer);  // waits until ended() has returned
  }
}

}  // namespace fibers::detail

namespace fibers {

bool callback_handle::remove() noexcept {
  auto const callback = std::move(callback_);
  if (callback == nullptr || !callback->try_claim()) return false;
  callback->task().remove_callback(*callback);
  callback->drop();  // without the lock: destructors of the callable may suspend
  return true;
}

}  // namespace fibers
