// SPDX-License-Identifier: BSL-1.0

// The life of a loop: main runs to its end, then the remaining tasks are cancelled and awaited. In a deadlock main's
// wait throws deadlock_error, and main's clean-up may end the deadlock.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/run.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "detail/engine/scheduler.hpp"
#include "detail/engine/signal_watch.hpp"

namespace fibers::detail {

namespace {

void cancel_all(scheduler& loop) {
  std::vector<task_ptr> tasks;  // the list of the loop changes meanwhile
  for (auto& task : loop.tasks()) tasks.emplace_back(&task);
  cancel_round const round;
  for (auto const& task : tasks) request_cancel(*task, make_request({}, cancel_origin::kind::shutdown, {}), round);
}

// Reports tasks that run after the end of main, at growing intervals, and cancels them again, at equal ones. One timer
// serves both, so that in virtual time it can tell whether it is the only timer: then it must not hide a deadlock.
class shutdown_watch final : public timer {
 public:
  shutdown_watch(scheduler& loop, bool virtual_time, run_options const& options)
      : timer(&fire_due),
        loop_(loop),
        virtual_time_(virtual_time),
        report_interval_(options.shutdown_report_after),
        again_interval_(options.cancel_again_after),
        next_report_(deadline_after(report_interval_)),
        next_again_(deadline_after(again_interval_)) {
    arm();
  }
  ~shutdown_watch() {
    if (armed()) loop_.timers().remove(*this);
  }
  shutdown_watch(shutdown_watch const&) = delete;
  shutdown_watch& operator=(shutdown_watch const&) = delete;

 private:
  void arm() {
    auto const next = std::min(next_report_, next_again_);
    if (next != time_point::max()) loop_.timers().add(*this, next);
  }
  static void fire_due(timer& due) noexcept {
    auto& self = static_cast<shutdown_watch&>(due);
    bool const alone = self.is_alone();
    if (self.when >= self.next_again_ && !alone) {
      self.report(self.again_interval_, ", which are cancelled again");
      cancel_all(self.loop_);
      self.next_again_ = deadline_after(self.again_interval_);
    }
    if (self.when >= self.next_report_) {
      self.report(self.report_interval_, "");
      self.report_interval_ = self.report_interval_ > duration::max() / 2 ? duration::max() : 2 * self.report_interval_;
      self.next_report_ = deadline_after(self.report_interval_);
    }
    if (!alone) self.arm();
  }
  void report(duration since, char const* what) const noexcept {
    std::fprintf(stderr, "fibers: run() is over, and since %s waits for tasks that were cancelled%s:%s\n",
                 to_string(since).c_str(), what, loop_.describe_tasks().c_str());
  }
  bool is_alone() const {
    auto const is_ready = [](task_state const& task) { return task.stage() != stage::suspended; };
    return virtual_time_ && loop_.timers().empty() &&
           std::none_of(loop_.tasks().begin(), loop_.tasks().end(), is_ready);
  }

  scheduler& loop_;
  bool const virtual_time_;
  duration report_interval_;
  duration again_interval_;
  time_point next_report_;
  time_point next_again_;
};

[[noreturn]] void give_up(scheduler& loop) {
  auto const error = deadlock_error(loop.deadlock());
  loop.abandon(std::make_exception_ptr(error));
  throw error;
}

void note_deadlock(scheduler& loop) {
  loop.deadlock("deadlock: nothing can ever run again, and these tasks wait:" + loop.describe_tasks());
}

void run_main(scheduler& loop, task_state& main) {
  loop.await(main);
  while (!loop.run()) {
    note_deadlock(loop);
    if (loop.given_up()) give_up(loop);
    auto* const w = main.waiter();
    bool const may_throw = w->unwinding() <= main.cancels().innermost().unwinding;
    if (w->on_cancel() == answer::keep || !may_throw || !w->try_claim(claim::closed)) give_up(loop);
    w->withdraw();
    wake(*w);
  }
}

void end_what_is_left(scheduler& loop, bool virtual_time, run_options const& options) {
  shutdown_watch const watch(loop, virtual_time, options);
  int deadlocks = 0;
  while (!loop.tasks().empty()) {
    for (auto& task : loop.tasks()) loop.await(task);
    cancel_all(loop);
    // A task that swallows its cancellation and waits again is cancelled again, up to the third deadlock.
    while (!loop.run()) {
      note_deadlock(loop);
      if (++deadlocks == 3 || loop.given_up()) give_up(loop);
      cancel_all(loop);
    }
  }
}

clock_kind chosen_clock(run_options const& options) {
  auto const* const asked = std::getenv("FIBERS_CLOCK");
  if (asked == nullptr || *asked == '\0' || std::strcmp(asked, "steady") == 0) return options.clock;
  if (std::strcmp(asked, "virtual") == 0) return clock_kind::virtual_time;
  throw std::invalid_argument("fibers: FIBERS_CLOCK is '" + std::string(asked) + "'; it may be 'virtual' or 'steady'");
}

}  // namespace

void run(run_options const& options, task_state& main, std::unique_ptr<parker> how_to_sleep,
         boost::source_location const& place) {
  if (loop::current() != nullptr) {
    throw invalid_state_error("fibers: run() inside of run() (" + to_string(place) +
                              "): this thread has a loop already; spawn() a task on it");
  }
  if (options.shutdown_report_after <= duration::zero()) {
    throw std::invalid_argument(
        "fibers: run_options::shutdown_report_after must be more than nothing; for no report give fibers::no_timeout");
  }
  if (options.cancel_again_after <= duration::zero()) {
    throw std::invalid_argument(
        "fibers: run_options::cancel_again_after must be more than nothing; to cancel once only give "
        "fibers::no_timeout");
  }
  if (options.threads != 1) {
    throw std::invalid_argument("fibers: run_options::threads is " + std::to_string(options.threads) +
                                ", and only 1 is possible as yet: for more, call run() on threads of your own");
  }
  bool const virtual_time = chosen_clock(options) == clock_kind::virtual_time;
  scheduler loop({.how_to_sleep = how_to_sleep != nullptr ? std::move(how_to_sleep) : parker_of_this_thread(),
                  .virtual_time = virtual_time,
                  .stack_size = options.stack_size,
                  .on_unhandled = options.on_unhandled
                                      ? std::make_shared<unhandled_exception_hook const>(options.on_unhandled)
                                      : nullptr});
  std::optional<signal_watch> signals;
  if (!options.cancel_on_signals.empty()) signals.emplace(options.cancel_on_signals, loop, main);
  main.name("main");
  loop.add(main, place);  // invariant: nothing throws between this and the end of main

  run_main(loop, main);
  if (signals.has_value()) signals->main_ended();
  for (auto& watch : loop.watches()) watch.main_ended(loop);
  end_what_is_left(loop, virtual_time, options);
  for (auto& watch : loop.watches()) watch.ended(loop);

  bool const by_others = main.cancels().count() > 1;
  if (signals.has_value() && signals->has_cancelled() != 0 && main.ending() == ending::cancelled && !by_others) {
    throw interrupted_error(signals->has_cancelled());
  }
  main.throw_error();
}

}  // namespace fibers::detail
