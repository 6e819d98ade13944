// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <fibers/detail/cancel_state.hpp>
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

void cancel_state::enter(cancel_scope& scope, unsigned unwinding) noexcept {
  scope.frame = innermost_;
  scope.outer = innermost_->innermost;
  scope.unwinding = unwinding;
  scope.level = innermost_->count - innermost_->pending;
  innermost_->innermost = &scope;
}

bool cancel_state::leave(cancel_scope& scope) noexcept {
  auto& frame = *scope.frame;
  frame.innermost = scope.outer;
  if (scope.stop.stop_possible()) forget_token(scope);
  drop(scope, scope.pending);
  if (scope.requested) lower(frame);
  changed();
  auto others = frame.count;
  for (auto const* outer = scope.outer; outer != nullptr; outer = outer->outer) {
    if (outer->unwinding < scope.unwinding) others -= outer->pending;  // held back for as long as this scope lasts
  }
  return others <= scope.level;
}

// --- requests ---

void cancel_state::request(cancel_scope& scope, cancelled_error error, bool by_itself) noexcept {
  auto& frame = *scope.frame;
  ++frame.count;
  ++frame.pending;
  count_.store(count() + 1, std::memory_order_relaxed);
  scope.requested = true;
  bool const first = scope.pending++ == 0;
  scope.by_itself = by_itself || (scope.by_itself && !first);
  if (first || !frame.taken) scope.error = std::move(error);  // the error of a wait that was withdrawn stands
  changed();
}

bool cancel_state::deliverable(unsigned unwinding) const noexcept {
  if (innermost_->taken) return false;
  for (auto const* scope = innermost_->innermost; scope != nullptr && scope->unwinding >= unwinding;
       scope = scope->outer) {
    if (scope->pending > 0) return true;
  }
  return false;
}

void cancel_state::take() noexcept {
  innermost_->taken = true;
  changed();
}

void cancel_state::put_back() noexcept {
  innermost_->taken = false;
  changed();
}

cancelled_error cancel_state::deliver(unsigned unwinding) noexcept {
  ++deliveries_;
  innermost_->taken = false;
  cancel_scope* outermost = nullptr;
  for (auto* scope = innermost_->innermost; scope != nullptr && scope->unwinding >= unwinding; scope = scope->outer) {
    if (scope->pending == 0) continue;
    drop(*scope, scope->pending);
    scope->delivered_at = deliveries_;
    outermost = scope;
  }
  changed();
  return outermost != nullptr ? outermost->error : cancelled_error();
}

void cancel_state::restore(std::uint32_t deliveries_before, message text) noexcept {
  for (auto* scope = innermost_->innermost; scope != nullptr; scope = scope->outer) {
    if (scope->delivered_at <= deliveries_before || innermost_->pending >= innermost_->count) continue;
    scope->delivered_at = 0;
    if (scope->pending > 0) continue;
    if (text == message::forget) scope->error = without_message(scope->error);
    ++scope->pending;
    ++innermost_->pending;
  }
  changed();
}

unsigned cancel_state::uncancel() noexcept {
  auto* frame = innermost_;
  while (frame->count == 0 && frame->outer != nullptr) frame = frame->outer;
  lower(*frame);
  changed();
  return count();
}

// At 0 nothing is pending any more; else what is left are requests that were delivered, as far as there were such.
void cancel_state::lower(cancel_frame& frame) noexcept {
  if (frame.count == 0) return;
  --frame.count;
  count_.store(count() - 1, std::memory_order_relaxed);
  if (frame.taken) return;
  if (frame.pending > frame.count) drop(frame.base, std::min(frame.base.pending, frame.pending - frame.count));
  for (auto* scope = frame.innermost; frame.pending > frame.count; scope = scope->outer) drop(*scope, scope->pending);
}

void cancel_state::drop(cancel_scope& scope, unsigned requests) noexcept {
  scope.pending -= requests;
  scope.frame->pending -= requests;
}

// --- frames ---

void cancel_state::open(cancel_frame& shield, unsigned unwinding) noexcept {
  shield.outer = innermost_;
  shield.base.unwinding = unwinding;
  innermost_ = &shield;
  changed();
}

void cancel_state::close(cancel_frame& shield) noexcept {
  // Requests that are still counted here were made by scopes that are gone; no other party knew this frame.
  count_.store(count() - shield.count, std::memory_order_relaxed);
  if (shield.base.stop.stop_possible()) forget_token(shield.base);
  innermost_ = shield.outer;
  changed();
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
  if (scope.stop.stop_possible()) return scope.stop.get_token();
  std::stop_source made;
  auto const& frame = *innermost_;
  if (has_pending(scope) || frame.count - frame.pending > scope.level) {
    made.request_stop();  // nobody has a callback there yet
  } else {
    scope.stop = made;
    scope.next_with_token = std::exchange(with_token_, &scope);
  }
  return made.get_token();
}

std::stop_source cancel_state::next_to_stop() noexcept {
  for (auto** place = &with_token_; *place != nullptr; place = &(*place)->next_with_token) {
    auto& scope = **place;
    if (scope.frame != innermost_ || !has_pending(scope)) continue;
    *place = scope.next_with_token;
    return std::exchange(scope.stop, std::stop_source(std::nostopstate));
  }
  return std::stop_source(std::nostopstate);
}

void cancel_state::forget_token(cancel_scope& scope) noexcept {
  auto** place = &with_token_;
  while (*place != &scope) place = &(*place)->next_with_token;
  *place = scope.next_with_token;
  scope.stop = std::stop_source(std::nostopstate);
}

}  // namespace fibers::detail
