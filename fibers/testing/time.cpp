// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/engine/suspend.hpp>
#include <fibers/testing/time.hpp>
#include <fibers/this_task.hpp>

#include "../detail/engine/loop.hpp"
#include "../detail/engine/loop_watch.hpp"

namespace fibers::testing {

namespace engine = fibers::detail;

namespace {

// Wakes the waiter when no other task can run.
class rest_watch final : public engine::loop_watch {
 public:
  explicit rest_watch(engine::waiter& w) : sleeper_(w) { w.task().loop().watch(*this); }
  rest_watch(rest_watch const&) = delete;
  rest_watch& operator=(rest_watch const&) = delete;
  ~rest_watch() { sleeper_.task().loop().unwatch(*this); }

 private:
  bool at_rest(engine::loop&) override {
    if (!sleeper_.try_claim(engine::claim::notified)) return false;
    engine::wake(sleeper_);
    return true;
  }

  engine::waiter& sleeper_;
};

}  // namespace

void wait_all_blocked(boost::source_location const& place) {
  auto& task = engine::enter(place);
  engine::plain_waiter w(task, place);
  auto const how = [&w] {
    rest_watch const watch(w);
    return engine::suspend(w);
  }();
  engine::settle(task, how);
}

void advance(time_limit length, boost::source_location const& place) {
  auto& task = engine::this_task_state(place);
  if (!task.loop().in_virtual_time()) {
    throw invalid_state_error(
        "fibers: testing::advance() moves virtual time, and here the clock is real: give run() "
        "clock_kind::virtual_time, or sleep_for() so long (" +
        engine::to_string(place) + ")");
  }
  sleep_for(length.length(), place);
  wait_all_blocked(place);
}

}  // namespace fibers::testing
