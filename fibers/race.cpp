// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/engine/suspend.hpp>
#include <fibers/race.hpp>
#include <mutex>

#include "detail/engine/loop.hpp"

namespace fibers::detail {

bool race_course::win(task_group& group, ending how) {
  if (how != ending::returned && static_cast<task_group_block const&>(group).going_down()) return false;
  if (won_.exchange(true)) return false;
  group.stop({}, place_);
  return true;
}

void race_course::run(std::function<void(task_group&)> const& start) {
  auto& self = this_task_state(place_);
  auto const deliveries_before = self.cancels().deliveries();
  try {
    run_in_group(start, cancel_origin::kind::race, place_);
  } catch (cancelled_error& error) {
    if (!won_) {
      error.transferred(error.transferred() + transferred_);
      throw;
    }
    std::scoped_lock const guard(self.lock());
    self.cancels().restore(deliveries_before);
  } catch (exception_group const& errors) {  // spawning failed
    std::rethrow_exception(errors.exceptions().front());
  }
  if (error_ != nullptr) std::rethrow_exception(error_);
}

void race_course::report(std::exception_ptr const& error) const noexcept {
  if (auto* const task = running_task()) {
    report_unhandled(*task, error, "having lost a race(), ");
  }
}

}  // namespace fibers::detail
