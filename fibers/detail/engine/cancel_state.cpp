// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <fibers/detail/engine/cancel_state.hpp>
#include <new>
#include <utility>

namespace fibers::detail {

namespace {

cancelled_error without_message(cancelled_error const& error) noexcept try {
  return error.message().empty() ? error : cancelled_error({}, error.origin());
} catch (std::bad_alloc const&) {
  return {};
}

}  // namespace

// --- scopes ---

cancel_frame& cancel_state::frame_of(cancel_scope& scope) noexcept {
  auto* base = &scope;
  while (base->outer != nullptr) base = base->outer;
  return static_cast<cancel_frame&>(*base);
}

bool cancel_state::leave(cancel_scope& scope) noexcept {
  auto& frame = *innermost_;
  frame.innermost = scope.outer;
  if (scope.has_token) forget_token(scope);
  drop(frame, scope, scope.pending);
  changed(scope.requested ? lower(frame) : 0);
  auto others = frame.count;
  for (auto const* outer = scope.outer; outer != nullptr; outer = outer->outer) {
    if (outer->unwinding < scope.unwinding) others -= outer->pending;  // not deliverable before this scope is left
  }
  return others <= scope.level;
}

// --- requests ---

void cancel_state::post(cancel_scope& scope, cancelled_error&& error, bool by_itself) noexcept {
  auto& frame = frame_of(scope);
  ++frame.count;
  ++frame.pending_all;
  scope.requested = true;
  bool const first = scope.pending++ == 0;
  scope.by_itself = by_itself || (scope.by_itself && !first);
  // The error of a withdrawn wait, or of the task's outcome, is not replaced.
  if ((first || !frame.reserved) && !frame.ended) scope.error = std::move(error);
  changed(+1);
}

bool cancel_state::deliverable(unsigned unwinding) const noexcept {
  if (innermost_->reserved) return false;
  for (auto const* scope = innermost_->innermost; scope != nullptr && scope->unwinding >= unwinding;
       scope = scope->outer) {
    if (scope->pending > 0) return true;
  }
  return false;
}

void cancel_state::reserve() noexcept {
  innermost_->reserved = true;
  changed();
}

void cancel_state::put_back() noexcept {
  innermost_->reserved = false;
  changed();
}

cancelled_error cancel_state::deliver(unsigned unwinding) noexcept {
  ++deliveries_;
  innermost_->reserved = false;
  cancel_scope* outermost = nullptr;
  for (auto* scope = innermost_->innermost; scope != nullptr && scope->unwinding >= unwinding; scope = scope->outer) {
    if (scope->pending == 0) continue;
    drop(*innermost_, *scope, scope->pending);
    scope->delivered_at = deliveries_;
    outermost = scope;
  }
  changed();
  return outermost != nullptr ? outermost->error : cancelled_error();
}

void cancel_state::transferred(std::size_t bytes) noexcept {
  for (auto* scope = innermost_->innermost; scope != nullptr; scope = scope->outer) {
    if (scope->counts_bytes && scope->delivered_at == deliveries_) {
      static_cast<byte_counting_scope&>(*scope).transferred = bytes;
    }
  }
}

void cancel_state::restore(std::uint32_t deliveries_before, message text) noexcept {
  auto& frame = *innermost_;
  for (auto* scope = frame.innermost; scope != nullptr; scope = scope->outer) {
    if (scope->delivered_at <= deliveries_before || frame.pending_all >= frame.count) continue;
    scope->delivered_at = 0;
    if (scope->pending > 0) continue;
    if (text == message::forget) scope->error = without_message(scope->error);
    ++scope->pending;
    ++frame.pending_all;
  }
  changed();
}

unsigned cancel_state::uncancel() noexcept {
  auto* frame = innermost_;
  while (frame->count == 0 && frame->outer_frame != nullptr) frame = frame->outer_frame;
  changed(lower(*frame));
  return count();
}

// Keeps pending_all <= count: at 0 no request is pending, and delivered requests are the last to be dropped.
int cancel_state::lower(cancel_frame& frame) noexcept {
  if (frame.count == 0) return 0;
  --frame.count;
  if (frame.reserved) return -1;
  if (frame.pending_all > frame.count) drop(frame, frame, std::min(frame.pending, frame.pending_all - frame.count));
  for (auto* scope = frame.innermost; frame.pending_all > frame.count; scope = scope->outer) {
    drop(frame, *scope, scope->pending);
  }
  return -1;
}

void cancel_state::drop(cancel_frame& frame, cancel_scope& scope, unsigned requests) noexcept {
  scope.pending -= requests;
  frame.pending_all -= requests;
}

void cancel_state::end_with(cancelled_error const& error) noexcept {
  outermost_.error = error;
  outermost_.ended = true;
}

// --- frames ---

void cancel_state::open(cancel_frame& shield, unsigned unwinding) noexcept {
  shield.outer_frame = innermost_;
  shield.unwinding = static_cast<std::uint16_t>(unwinding);
  innermost_ = &shield;
  changed();
}

void cancel_state::close(cancel_frame& shield) noexcept {
  if (shield.has_token) forget_token(shield);
  innermost_ = shield.outer_frame;
  // The remaining count is of scopes that were left; no other party knew this frame.
  changed(-static_cast<int>(shield.count));
}

// --- stop tokens ---

// Is a request pending that would reach this scope?
bool cancel_state::has_pending(cancel_scope const& scope) noexcept {
  for (auto const* each = &scope; each != nullptr; each = each->outer) {
    if (each->pending > 0) return true;
  }
  return false;
}

std::stop_token cancel_state::stop_token() {
  auto& scope = *innermost_->innermost;
  if (scope.has_token) {
    if (auto const source = tokens_.find(scope); source.stop_possible()) return source.get_token();
  }
  std::stop_source made;
  auto const& frame = *innermost_;
  if (has_pending(scope) || frame.count - frame.pending_all > scope.level) {
    made.request_stop();  // no callback is registered yet
  } else {
    tokens_.add(scope, made);
    scope.has_token = true;
  }
  return made.get_token();
}

std::stop_source cancel_state::next_to_stop() noexcept {
  return tokens_.take([this](cancel_scope& scope) { return &frame_of(scope) == innermost_ && has_pending(scope); });
}

void cancel_state::forget_token(cancel_scope& scope) noexcept {
  tokens_.take([&scope](cancel_scope const& each) { return &each == &scope; });
}

}  // namespace fibers::detail
