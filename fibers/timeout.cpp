// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/timeout.hpp>
#include <mutex>
#include <string>

#include "detail/engine/loop.hpp"

namespace fibers {

[[gnu::always_inline]] inline void timeout_scope::arm(time_point deadline, duration limit) {
  deadline_ = deadline;
  limit_ = limit;
  if (deadline == time_point::max()) return;
  task_.loop().timers().add(*this, deadline);
  if (limit <= duration::zero()) task_.loop().end_turn();
}

timeout_scope::timeout_scope(time_point deadline, duration limit, boost::source_location const& place)
    : timer(&expire), task_(detail::this_task_state(place)), place_(place) {
  arm(deadline, limit);
  detail::enter_scope(task_, scope_);
}

void timeout_scope::reschedule(time_point deadline) {
  if (expired_) {
    throw invalid_state_error("fibers: this timeout has expired; reschedule() it before its deadline");
  }
  if (armed()) task_.loop().timers().remove(*this);
  arm(deadline, detail::time_until(deadline));
}

void timeout_scope::reschedule_after(time_limit from_now) { reschedule(from_now.from_now()); }

void timeout_scope::expire(timer& due) noexcept {
  auto& self = static_cast<timeout_scope&>(due);
  self.expired_ = true;
  if (self.task_.stage() == detail::stage::suspended) self.waited_at_ = self.task_.waiter()->place();
  detail::request_cancel(self.task_, self.scope_, detail::make_request({}, cancel_origin::kind::timeout, self.place_));
}

bool timeout_scope::leave() noexcept {
  if (left_) return false;
  left_ = true;
  if (armed()) task_.loop().timers().remove(*this);
  return detail::leave_scope(task_, scope_) && expired_;
}

void timeout_scope::throw_timeout() const {
  auto const limit = limit_ > duration::zero() ? " after " + detail::to_string(limit_)
                                               : std::string(": its deadline had passed when it was set");
  std::string text = "timed out" + limit + " (limit set at " + detail::to_string(place_) + ")";
  if (waited_at_.has_value()) {
    text += ", while waiting at " + detail::to_string(*waited_at_) + " (" + waited_at_->function_name() + ")";
  }
  timeout_error error(text);
  error.transferred(scope_.transferred);
  throw error;
}

bool detail::end_now(task_state& task, boost::source_location const& place) {
  enter(place);
  if (!request_cancel(task, make_request({}, cancel_origin::kind::timeout, place))) return false;
  join(task, pass_on::no, place);
  return task.ending() == ending::cancelled;
}

}  // namespace fibers
