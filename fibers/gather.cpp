// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/engine/suspend.hpp>
#include <fibers/gather.hpp>
#include <mutex>

#include "detail/engine/loop.hpp"

namespace fibers::detail {

void wait_for_all(std::span<task_ptr const> tasks, tolerate errors, boost::source_location const& place) {
  auto const enough = errors == tolerate::yes ? until::all : until::one_failed_or_cancelled;
  if (auto* const bad = wait_for_ends(tasks, enough, pass_on::yes, time_point::max(), place)) bad->throw_error();
}

bool is_uninterrupted(task_base const& child) {
  if (!child || child.cancelled()) return false;
  auto& ended = *task_access::state(child);
  return ended.cancels().round == 0 || ended.cancels().outermost().pending > 0;
}

void with_gather_group(std::function<void(task_group&)> const& body, std::function<bool()> const& complete,
                       boost::source_location const& place) {
  auto& task = enter(place);
  auto const deliveries_before = task.cancels().deliveries();
  std::vector<std::exception_ptr> errors;
  try {
    run_in_group(body, cancel_origin::kind::gather, place);
    return;
  } catch (cancelled_error const&) {
    if (!complete()) throw;
    std::scoped_lock const guard(task.lock());
    task.cancels().restore(deliveries_before);
    return;
  } catch (exception_group const& group) {
    errors = group.exceptions();
  }
  for (std::size_t i = 1; i < errors.size(); ++i) {
    report_unhandled(task, errors[i], "another callable of gather() in ");
  }
  std::rethrow_exception(errors.front());
}

}  // namespace fibers::detail
