// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/engine/suspend.hpp>
#include <fibers/testing/suspension_point.hpp>
#include <string>

#include "../detail/engine/loop.hpp"
#include "../detail/engine/loop_watch.hpp"
#include "trial.hpp"

namespace fibers::testing::detail {

namespace engine = fibers::detail;

class point_count::watch final : public engine::loop_watch {
 public:
  explicit watch(engine::task_state& task) : task_(task) { task.loop().watch(*this); }
  watch(watch const&) = delete;
  watch& operator=(watch const&) = delete;
  ~watch() { task_.loop().unwatch(*this); }

  std::string first;  // description of the first point; empty: there was none

 private:
  void at_point(engine::task_state& task, boost::source_location const& place) override {
    if (&task == &task_ && first.empty()) first = describe_point(task, place);
  }

  engine::task_state& task_;
};

point_count::point_count(boost::source_location const& place)
    : watch_(std::make_unique<watch>(engine::this_task_state(place))) {}
point_count::~point_count() = default;

void point_count::expect_some(boost::source_location const& place) const {
  if (!watch_->first.empty()) return;
  throw failure("expect_suspension_point: the call at " + engine::to_string(place) +
                " is none: a request to cancel would not have been delivered in it");
}

void point_count::expect_none(boost::source_location const& place) const {
  if (watch_->first.empty()) return;
  throw failure("expect_no_suspension_point: the call at " + engine::to_string(place) +
                " is one: a request to cancel would be delivered " + watch_->first);
}

}  // namespace fibers::testing::detail
