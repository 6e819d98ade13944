// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/cancel_state.hpp>
#include <utility>

namespace fibers::detail {

void cancel_state::request(cancel_frame& frame, cancelled_error error) noexcept {
  ++frame.count;
  ++frame.fresh;
  count_.store(count() + 1, std::memory_order_relaxed);
  if (frame.stage == request_stage::taken) return;  // the first one's message stands
  frame.stage = request_stage::pending;
  frame.error = std::move(error);
  changed();
}

void cancel_state::take() noexcept {
  innermost_->stage = request_stage::taken;
  changed();
}

void cancel_state::put_back() noexcept {
  if (innermost_->stage == request_stage::taken) innermost_->stage = request_stage::pending;
  changed();
}

cancelled_error cancel_state::deliver() noexcept {
  innermost_->stage = request_stage::none;
  innermost_->fresh = 0;
  changed();
  return std::exchange(innermost_->error, {});
}

unsigned cancel_state::uncancel(cancel_frame& frame) noexcept {
  if (frame.count == 0) return 0;
  count_.store(count() - 1, std::memory_order_relaxed);
  --frame.count;
  if (frame.fresh > frame.count) frame.fresh = frame.count;
  if (frame.count == 0 && frame.stage == request_stage::pending) {
    frame.stage = request_stage::none;
    frame.error = {};
    changed();
  }
  return frame.count;
}

unsigned cancel_state::uncancel() noexcept {
  auto* frame = innermost_;
  while (frame->count == 0 && frame->outer != nullptr) frame = frame->outer;
  uncancel(*frame);
  return count();
}

void cancel_state::rearm(cancelled_error error) noexcept {
  if (innermost_->stage != request_stage::none) return;
  innermost_->stage = request_stage::pending;
  innermost_->error = std::move(error);
  changed();
}

void cancel_state::open(cancel_frame& shield) noexcept {
  shield.outer = innermost_;
  innermost_ = &shield;
  changed();
}

void cancel_state::close(cancel_frame& shield) noexcept {
  // What was asked for inside concerned scopes that are gone by now; nobody else knew of this frame.
  while (shield.count > 0) uncancel(shield);
  innermost_ = shield.outer;
  changed();
}

}  // namespace fibers::detail
