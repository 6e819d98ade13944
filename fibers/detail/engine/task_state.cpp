// SPDX-License-Identifier: BSL-1.0

#include <cxxabi.h>

#include <boost/core/demangle.hpp>
#include <cstdio>
#include <cstdlib>
#include <fibers/detail/engine/task_state.hpp>
#include <mutex>
#include <utility>


namespace fibers::detail {

task_state::task_state() noexcept = default;

task_state::~task_state() {
  if (ending_ == ending::failed && !looked_at_.load(std::memory_order_relaxed)) {
    report(extras_ != nullptr ? extras_->on_unhandled.get() : nullptr, failure_, "");
  }
}

// --- a task's life ---

ending task_state::run() {
  auto how = ending::cancelled;
  if (cancels_.deliverable()) {
    std::scoped_lock const guard(lock_);
    auto delivered = cancels_.deliver();
    delivered.of(id_);
    cancels_.end_with(std::move(delivered));
  } else {
    how = call();
  }
  drop_callable();
  return how;
}

ending task_state::keep(cancelled_error const& error) noexcept {
  std::scoped_lock const guard(lock_);
  cancels_.end_with(error);
  return ending::cancelled;
}

ending task_state::keep(std::exception_ptr error) noexcept {
  failure_ = std::move(error);
  return ending::failed;
}

void task_state::refuse_forced_unwind() noexcept {
  std::fprintf(stderr,
               "fibers: task '%s' (spawned at %s) was to end its thread, by pthread_exit() or pthread_cancel(): other "
               "tasks run on that thread, so the program is aborted; return from the task instead, or run on a thread "
               "of your own what needs to end its thread\n",
               name().c_str(), to_string(spawned_at_).c_str());
  std::abort();
}

void task_state::fail(std::exception_ptr error) noexcept {
  failure_ = std::move(error);
  drop_callable();
}

callback_list task_state::finish(enum ending how) noexcept {
  ending_ = how;
  stage_.store(stage::finished, std::memory_order_release);  // publishes the outcome
  while (!observers_.empty()) {
    auto& observer = observers_.front();
    observers_.pop_front();
    observer.ended(*this);
  }
  callback_list callbacks;
  if (extras_ != nullptr) callbacks.append(extras_->callbacks);
  return callbacks;
}

// --- observers and callbacks ---

bool task_state::observed() noexcept {
  std::scoped_lock const guard(lock_);
  return !observers_.empty();
}

bool task_state::observe(end_observer& observer) noexcept {
  std::scoped_lock const guard(lock_);
  if (finished()) return false;
  observers_.push_back(observer);
  return true;
}

void task_state::unobserve(end_observer& observer) noexcept {
  std::scoped_lock const guard(lock_);
  if (observer.is_linked()) observers_.erase(observers_.iterator_to(observer));
}

bool task_state::add_callback(done_callback& callback) {
  std::scoped_lock const guard(lock_);
  if (finished()) return false;
  extra().callbacks.push(callback);
  return true;
}

void task_state::remove_callback(done_callback& callback) noexcept {
  std::scoped_lock const guard(lock_);
  if (!finished()) extras_->callbacks.remove(callback);  // otherwise the loop owns it, and skips it
}

// --- the outcome ---

std::exception_ptr task_state::error() noexcept {
  looked_at();
  return ending_ == ending::cancelled ? std::make_exception_ptr(cancels_.ended_with()) : failure_;
}

void task_state::throw_ending() {
  if (ending_ == ending::cancelled) throw cancels_.ended_with();
  std::rethrow_exception(failure_);
}

// --- extras ---

task_state::extras& task_state::extra() {
  if (extras_ == nullptr) extras_ = std::make_unique<extras>();
  return *extras_;
}

void task_state::keep_hook(std::shared_ptr<unhandled_exception_hook const> const& hook) noexcept try {
  extra().on_unhandled = hook;
} catch (std::bad_alloc const&) {
}

std::string task_state::name() {
  std::scoped_lock const guard(lock_);
  if (extras_ != nullptr && !extras_->name.empty()) return extras_->name;
  return "task-" + std::to_string(id_.value);
}

void task_state::name(std::string name) {
  std::scoped_lock const guard(lock_);
  extra().name = std::move(name);
}

void task_state::report(unhandled_exception_hook const* hook, std::exception_ptr const& error,
                        char const* where) noexcept {
  auto const own_name = name();
  report_unhandled(hook, own_name, error,
                   std::string(where).append("task '").append(own_name).append("' (spawned at ") +
                       to_string(spawned_at()) + ") failed, and nobody asked for its outcome");
}

}  // namespace fibers::detail
