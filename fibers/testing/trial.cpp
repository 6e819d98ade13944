// SPDX-License-Identifier: BSL-1.0

#include "trial.hpp"

#include <cxxabi.h>

#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/run.hpp>
#include <fibers/testing/failure.hpp>
#include <utility>

// Part of the leak sanitizer; null without it.
extern "C" [[gnu::weak]] int __lsan_do_recoverable_leak_check();

namespace fibers::testing::detail {

namespace engine = fibers::detail;

std::string trial::play(std::function<void()> const& body) {
  {
    auto const main = engine::make_task([&] {
      auto& here = *engine::loop::current();
      here.watch(*this);
      main_ = here.running();
      running_ = true;
      call(body);
    });
    run_options options;
    options.clock = clock_kind::virtual_time;
    options.on_unhandled = [this](std::string const& task, std::exception_ptr const& error) {
      if (!expects(error)) wrong("nobody fetched the exception of task '" + task + "': " + engine::describe(error));
    };
    try {
      engine::run(options, *main, nullptr, BOOST_CURRENT_LOCATION);
      wrong(returned());
    } catch (cancelled_error const& error) {
      if (!cancelled()) wrong(std::string("nobody had cancelled the body, and it ended cancelled: ") + error.what());
    } catch (abi::__forced_unwind&) {
      throw;
    } catch (...) {
      auto const error = std::current_exception();
      if (!expects(error)) wrong("the body threw an exception: " + engine::describe(error));
    }
    main_ = nullptr;
  }
  blocks_left_ = outstanding();
  return wrong_;
}

void trial::wrong(std::string const& what) {
  if (wrong_.empty()) wrong_ = what;
}

// Returns false, and ends the loop, if the limit of points is exceeded.
bool trial::count_point(engine::loop& loop) {
  if (++points_ <= most_points_) return true;
  wrong("it comes to no end; after " + std::to_string(most_points_) + " suspension points:" + loop.describe_tasks());
  loop.give_up();
  return false;
}

void trial::at_point(engine::task_state& task, boost::source_location const& place) {
  if (!count_point(task.loop()) || !running_) return;
  latest_place_ = place;
  point([&] { return describe_point(task, place); });
}

bool trial::at_rest(engine::loop& loop) {
  if (!running_ || !count_point(loop)) return false;
  point([this] { return describe_point(*main_, main_->waiter()->place()) + ", which waits there as do all others"; });
  return loop.any_ready();
}

void trial::taking() {
  if (!running_) return;
  allocation([this] {
    auto* const task = engine::running_task();
    if (task == nullptr) return std::string("between tasks");
    if (latest_place_.line() == 0) return "before the first suspension point, in task '" + task->name() + "'";
    return "after the suspension point " + describe_point(*task, latest_place_);
  });
}

void trial::main_ended(engine::loop& loop) {
  running_ = false;
  if (!loop.deadlock().empty()) wrong_ = loop.deadlock();  // other faults are consequences of the deadlock
  if (!loop.tasks().empty()) wrong("the body has ended, and tasks are left:" + loop.describe_tasks());
}

void trial::ended(engine::loop& loop) {
  if (!loop.timers().empty()) wrong("timers are left");
}

std::string play(std::unique_ptr<trial>& latest, std::function<std::unique_ptr<trial>()> const& make,
                 std::function<void()> const& body) {
  for (bool again = false;; again = true) {
    latest.reset();  // memory watches must be destroyed in LIFO order
    latest = make();
    auto wrong = latest->play(body);
    if (!wrong.empty() || latest->blocks_left() <= 0) return wrong;
    if (again) {
      return std::to_string(latest->blocks_left()) +
             " blocks of the library's memory were not given back: is something kept outside of the body, such as a "
             "handle of a task?";
    }
  }
}

void check_for_leaks(char const* function) {
  static bool reported = false;  // every later check would find the same leak again
  if (reported || __lsan_do_recoverable_leak_check == nullptr || __lsan_do_recoverable_leak_check() == 0) return;
  reported = true;
  throw failure(
      std::string(function) +
      ": memory was lost, in one of these runs or before; the leak sanitizer's report on stderr says where it "
      "was taken");
}

std::string describe_point(engine::task_state& task, boost::source_location const& place) {
  return "at " + engine::to_string(place) + " (" + place.function_name() + "), in task '" + task.name() + "'";
}

void refuse_nesting(char const* function) {
  if (engine::loop::current() == nullptr) return;
  throw invalid_state_error(std::string("fibers: testing::") + function +
                            "() runs loops of its own: call it outside of run() and of tasks");
}

}  // namespace fibers::testing::detail
