// SPDX-License-Identifier: BSL-1.0

// Obligations:
//
//   a child ends        it calls child_ended() without its own lock. The first child that fails aborts the group: it
//                       cancels the others and the owner, and only then leaves children_, so that the group is still
//                       alive. The last child to leave owes the owner the wake-up, as its last touch.
//   the owner leaves    the body's failure or cancellation aborts; then the owner waits until children_ is empty.
//
// Requests are made without the group's lock, since they may call stop callbacks, which may call the group.

#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/task_group.hpp>
#include <mutex>
#include <vector>

namespace fibers {

using detail::make_request;

task_group::task_group(cancel_origin::kind via, boost::source_location const& place)
    : owner_(detail::this_task_state(place)),
      deliveries_before_(owner_.cancels().deliveries()),
      via_(via),
      place_(place) {
  detail::enter_scope(owner_, scope_);
}

void task_group::start(detail::task_state& child, std::string_view name, boost::source_location const& place) {
  bool quiet = false;
  {
    std::scoped_lock const guard(lock_);
    quiet = quiet_ && failed_.empty();
    if (closed_ || (aborting_ && !quiet)) {
      throw invalid_state_error(
          "fibers: spawn() in a task group that is " +
          std::string(closed_ ? "over" : "going down, because it or a child of it failed or was cancelled") + " (" +
          detail::to_string(place) + ")");
    }
    child.cancels().round = round_;  // a cancellation under way does not include this child
    children_.push_back(child);
    intrusive_ptr_add_ref(&child);
  }
  child.parent(this);
  try {
    detail::start(child, name, place);
  } catch (...) {
    child.parent(nullptr);
    std::scoped_lock const guard(lock_);
    children_.erase(children_.iterator_to(child));
    intrusive_ptr_release(&child);
    throw;
  }
  if (quiet) request_cancel(child, own_request_);
}

void task_group::child_ended(detail::task_state& child) noexcept {
  bool failed = child.ending() == detail::ending::failed;
  if (failed) {
    std::unique_lock guard(lock_);
    bool const first = !asked_owner_ && !aborting_;
    if (first) asked_owner_ = true;
    guard.unlock();
    if (first) {
      auto const why = make_request({}, via_, place_);
      abort(why);
      request_cancel(owner_, scope_, why);
    }
  }

  std::unique_lock guard(lock_);
  children_.erase(children_.iterator_to(child));
  if (failed && is_again(child.error(), child)) failed = false;
  if (failed) failed_.push_back(child);  // takes over children_'s reference
  detail::waiter* ready = nullptr;
  if (children_.empty() && waiter_ != nullptr && waiter_->try_claim(detail::claim::notified)) ready = waiter_;
  guard.unlock();
  if (!failed) intrusive_ptr_release(&child);  // the loop still holds a reference
  if (ready != nullptr) wake(*ready);
}

// Returns true if `error` is the first child's, rethrown by a task that awaited the child and whose cancellation is not
// delivered yet: the error counts once. A task that fetches it in its clean-up after that fails like any other.
bool task_group::is_again(std::exception_ptr const& error, detail::task_state& task) noexcept {
  return !failed_.empty() && task.cancels().deliverable() && error == failed_.front().error();
}

void task_group::abort(cancelled_error const& why) noexcept {
  {
    std::scoped_lock const guard(lock_);
    aborting_ = true;
  }
  cancel_children(why);
}

// Cancels the present children, each once: a cancelled child moves to the end of the list.
void task_group::cancel_children(cancelled_error const& why) noexcept {
  detail::cancel_round const round(&owner_);
  std::unique_lock guard(lock_);
  round_ = round.number();
  auto left = children_.size();
  while (left-- > 0 && !children_.empty()) {
    detail::task_ptr const child(&children_.front());
    children_.splice(children_.end(), children_, children_.begin());
    guard.unlock();
    request_cancel(*child, why, round);
    guard.lock();
  }
}

void task_group::cancel_all(std::string_view message, boost::source_location const& place) {
  cancel_children(make_request(message, via_, place));
}

void task_group::stop(std::string_view message, boost::source_location const& place) {
  auto const request = make_request(message, via_, place);
  {
    std::scoped_lock const guard(lock_);
    if (stopped_ || closed_) return;
    stopped_ = true;
    if (aborting_) return;  // the children and the owner are already being cancelled
    aborting_ = true;
    asked_owner_ = true;
    quiet_ = true;
    own_request_ = request;
  }
  cancel_children(request);
  request_cancel(owner_, scope_, request);
}

std::size_t task_group::size() const {
  std::scoped_lock const guard(lock_);
  return children_.size();
}

// Under the lock.
bool task_group::is_own(cancelled_error const& request) const noexcept {
  return &request.origin() == &own_request_.origin();  // copies share it
}

bool task_group::going_down() const {
  std::scoped_lock const guard(lock_);
  return aborting_;
}

// A suspension point if there are children.
void task_group::wait_for_children(bool cancellable) {
  if (size() == 0) return;
  if (!cancellable) {
    detail::uncancellable_waiter w(owner_, place_);
    return wait_for_children(w);
  }
  detail::enter(place_);
  detail::plain_waiter w(owner_, place_);
  wait_for_children(w);
}

void task_group::wait_for_children(detail::waiter& w) {
  {
    std::scoped_lock const guard(lock_);
    if (children_.empty()) return;
    waiter_ = &w;
  }
  auto const how = detail::suspend(w);
  {
    std::scoped_lock const guard(lock_);
    waiter_ = nullptr;
  }
  detail::settle(owner_, how);
}

void task_group::leave(std::exception_ptr failure, std::optional<cancelled_error> cancelled) {
  if (failure != nullptr || cancelled.has_value()) {
    std::unique_lock guard(lock_);
    if (failure != nullptr && is_again(failure, owner_)) failure = nullptr;
    bool const first = !aborting_;
    guard.unlock();
    if (first) abort(make_request({}, via_, place_));
  }

  std::exception_ptr deadlock;
  for (;;) {
    try {
      wait_for_children(deadlock == nullptr);
      std::scoped_lock const guard(lock_);
      closed_ = children_.empty();
      if (closed_) break;
    } catch (cancelled_error const& request) {
      std::unique_lock guard(lock_);
      bool const first = !aborting_;
      // Otherwise the children were already cancelled, and get the time that they need.
      if (first || (stopped_ && (!cancelled.has_value() || is_own(*cancelled)))) cancelled = request;
      guard.unlock();
      if (first) abort(make_request({}, via_, place_));
    } catch (deadlock_error const&) {  // rethrown without a group, once the children have ended
      deadlock = std::current_exception();
      abort(make_request({}, via_, place_));
    }
  }

  // The group is closed and has no children, so no other thread touches it any more.
  std::vector<std::exception_ptr> errors;
  while (!failed_.empty()) {
    detail::task_ptr const child(&failed_.front(), false);
    failed_.pop_front();
    errors.push_back(child->error());
  }
  if (failure != nullptr) errors.push_back(std::move(failure));
  if (deadlock != nullptr) errors.clear();

  std::unique_lock guard(owner_.lock());
  auto& requests = owner_.cancels();
  bool const only_own = (!stopped_ && requests.leave_quietly(scope_)) || requests.leave(scope_);
  if (stopped_ && asked_owner_ && only_own) cancelled.reset();
  if (!errors.empty()) {
    // A request from outside that was delivered in this group must not be lost behind the errors.
    requests.restore(deliveries_before_, detail::cancel_state::message::forget);
    guard.unlock();
    throw exception_group("task group", std::move(errors));
  }
  guard.unlock();
  if (deadlock != nullptr) std::rethrow_exception(deadlock);
  if (cancelled.has_value()) throw *cancelled;
}

void detail::throw_no_result() {
  throw invalid_state_error("fibers: the task group was stopped before its body had a result to return");
}

}  // namespace fibers
