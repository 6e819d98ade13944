// SPDX-License-Identifier: BSL-1.0

// The life of a loop: main runs to its end, then what is left is cancelled and waited for. A loop in which nothing can
// ever run again tells main, whose clean-up may yet set things right.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fibers/detail/request.hpp>
#include <fibers/detail/suspend.hpp>
#include <fibers/run.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "detail/scheduler.hpp"
#include "detail/signal_watch.hpp"

namespace fibers::detail {

namespace {

// Does something while tasks that were cancelled at the end of run() take long.
class shutdown_timer : public timer {
 public:
  shutdown_timer(shutdown_timer const&) = delete;
  shutdown_timer& operator=(shutdown_timer const&) = delete;

 protected:
  shutdown_timer(scheduler& loop, bool virtual_time, duration after, function f)
      : timer(f), loop_(loop), after_(after), virtual_time_(virtual_time) {
    arm();
  }
  ~shutdown_timer() {
    if (armed()) loop_.timers().remove(*this);
  }
  // In virtual time it must not be all that keeps time going: that is a deadlock.
  void arm_again() {
    if (!is_alone()) arm();
  }
  std::string tasks() const { return to_string(after_) + " waits for tasks that were cancelled"; }

  scheduler& loop_;
  duration after_;

 private:
  void arm() {
    auto const next = deadline_after(after_);
    if (next != time_point::max()) loop_.timers().add(*this, next);
  }
  bool is_alone() const {
    auto const is_ready = [](task_state const& task) { return task.stage() != stage::suspended; };
    return virtual_time_ && loop_.timers().empty() &&
           std::none_of(loop_.tasks().begin(), loop_.tasks().end(), is_ready);
  }

  bool const virtual_time_;
};

// Reports them, at growing intervals.
class shutdown_report final : public shutdown_timer {
 public:
  shutdown_report(scheduler& loop, bool virtual_time, duration after)
      : shutdown_timer(loop, virtual_time, after, &report) {}

 private:
  static void report(timer& due) noexcept {
    auto& self = static_cast<shutdown_report&>(due);
    std::fprintf(stderr, "fibers: run() is over, and since %s:%s\n", self.tasks().c_str(),
                 self.loop_.describe_tasks().c_str());
    self.after_ = self.after_ > duration::max() / 2 ? duration::max() : 2 * self.after_;
    self.arm_again();
  }
};

void cancel_all(scheduler& loop) {
  std::vector<task_ptr> tasks;  // the list of the loop changes meanwhile
  for (auto& task : loop.tasks()) tasks.emplace_back(&task);
  cancel_round const round;
  for (auto const& task : tasks) request_cancel(*task, make_request({}, cancel_origin::kind::shutdown, {}), round);
}

// Cancels them again.
class second_request final : public shutdown_timer {
 public:
  second_request(scheduler& loop, bool virtual_time, duration after)
      : shutdown_timer(loop, virtual_time, after, &cancel_again) {}

 private:
  static void cancel_again(timer& due) noexcept {
    auto& self = static_cast<second_request&>(due);
    std::fprintf(stderr, "fibers: run() is over, and since %s, which are cancelled again:%s\n", self.tasks().c_str(),
                 self.loop_.describe_tasks().c_str());
    cancel_all(self.loop_);
    self.arm_again();
  }
};

[[noreturn]] void give_up(scheduler& loop) {
  auto const error = deadlock_error(loop.deadlock());
  loop.abandon(std::make_exception_ptr(error));
  throw error;
}

// Nothing can ever run again.
void note_deadlock(scheduler& loop) {
  loop.deadlock("deadlock: nothing can ever run again, and these tasks wait:" + loop.describe_tasks());
}

void run_main(scheduler& loop, task_state& main) {
  loop.await(main);
  while (!loop.run()) {
    note_deadlock(loop);
    if (loop.given_up()) give_up(loop);
    auto* const w = main.waiter();
    bool const may_throw = w->unwinding() <= main.cancels().innermost().base.unwinding;
    if (w->response() == on_cancel::hold || !may_throw || !w->try_claim(claim::closed)) give_up(loop);
    wake(*w);
  }
}

void end_what_is_left(scheduler& loop, bool virtual_time, run_options const& options) {
  shutdown_report const report(loop, virtual_time, options.shutdown_report_after);
  second_request const again(loop, virtual_time, options.cancel_again_after);
  int deadlocks = 0;
  while (!loop.tasks().empty()) {
    for (auto& task : loop.tasks()) loop.await(task);
    cancel_all(loop);
    // A task that swallows a request and waits again is asked again, but not for ever.
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
        "fibers: run_options::cancel_again_after must be more than nothing; to cancel once only give fibers::no_timeout");
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
  loop.add(main, place);  // nothing may throw from here on until it has run

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
