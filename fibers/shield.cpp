// SPDX-License-Identifier: BSL-1.0

#include <cstdio>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/unhandled.hpp>
#include <fibers/shield.hpp>
#include <mutex>

#include "detail/engine/loop.hpp"

namespace fibers::detail {

shield_block::shield_block(boost::source_location const& place) : task_(this_task_state(place)) {
  auto const unwinding = static_cast<unsigned>(std::uncaught_exceptions());
  std::scoped_lock const guard(task_.lock());
  task_.cancels().open(frame_, unwinding);
}

shield_block::~shield_block() {
  bool has_tokens = false;
  {
    std::scoped_lock const guard(task_.lock());
    task_.cancels().close(frame_);
    has_tokens = task_.cancels().has_tokens();
  }
  if (has_tokens) stop_tokens(task_);  // for requests that the shield held back
}

void report_failed_cleanup(std::exception_ptr const& error) noexcept {
  if (auto* const task = running_task()) {
    report_unhandled(*task, error, "a cleanup_guard of ");
  } else {
    std::fprintf(stderr, "fibers: a cleanup_guard outside of a task failed: %s\n", describe(error).c_str());
  }
}

}  // namespace fibers::detail
