// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/this_task.hpp>
#include <mutex>
#include <stdexcept>

#include "detail/engine/loop.hpp"

namespace fibers {

using detail::this_task_state;

void this_task::yield(boost::source_location const& place) { detail::yield_now(place); }

void this_task::checkpoint(boost::source_location const& place) { detail::checkpoint(place); }

void this_task::cancel(std::string_view message, boost::source_location const& place) {
  detail::request_cancel(this_task_state(place), detail::make_request(message, cancel_origin::kind::by_hand, place));
}

int this_task::cancelling(boost::source_location const& place) {
  return static_cast<int>(this_task_state(place).cancels().count());
}

int this_task::uncancel(boost::source_location const& place) {
  auto& task = this_task_state(place);
  std::scoped_lock const guard(task.lock());
  return static_cast<int>(task.cancels().uncancel());
}

bool this_task::is_own(cancelled_error const& error, boost::source_location const& place) {
  return error.of() == this_task_state(place).id();
}

std::string this_task::name(boost::source_location const& place) { return this_task_state(place).name(); }

task_id this_task::id(boost::source_location const& place) { return this_task_state(place).id(); }

task_handle<> this_task::handle(boost::source_location const& place) {
  return detail::task_access::make<task_handle<>>(detail::task_ptr(&this_task_state(place)));
}

std::stop_token this_task::stop_token(boost::source_location const& place) {
  auto& task = this_task_state(place);
  std::scoped_lock const guard(task.lock());
  return task.cancels().stop_token();
}

namespace {

// Wakes the sleeping task when due.
struct alarm final : detail::timer {
  explicit alarm(detail::waiter& w) noexcept : timer(&ring), sleeper(w) {}
  static void ring(timer& due) noexcept {
    auto& sleeper = static_cast<alarm&>(due).sleeper;
    if (sleeper.try_claim(detail::claim::notified)) detail::wake(sleeper);
  }
  detail::waiter& sleeper;
};

detail::task_state* sleep_until_due(time_point when, boost::source_location const& place) {
  auto& self = detail::enter_without_yield(place);
  auto& timers = self.loop().timers();
  detail::plain_waiter w(self, place);
  alarm alarm(w);
  if (when != time_point::max()) timers.add(alarm, when);
  auto const how = detail::suspend(w);
  if (alarm.armed()) timers.remove(alarm);
  if (how == detail::claim::cancelled) return &self;
  detail::settle(self, how);
  return nullptr;
}

}  // namespace

void sleep_until(time_point when, boost::source_location const& place) {
  if (when <= clock::now()) return detail::yield_now(place);
  if (auto* const cancelled = sleep_until_due(when, place)) throw detail::deliver_requests(*cancelled);
}

detail::task_state* detail::sleep(duration length, boost::source_location const& place) {
  if (length < duration::zero()) {
    throw std::invalid_argument("fibers: sleep_for() of less than nothing (" + to_string(place) +
                                "); for a time that may have passed there is sleep_until()");
  }
  if (length == duration::zero()) {
    yield_now(place);
    return nullptr;
  }
  return sleep_until_due(length == duration::max() ? time_point::max() : deadline_after(length), place);
}

}  // namespace fibers
