// SPDX-License-Identifier: BSL-1.0

#include "scheduler.hpp"

#include <alloca.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <fibers/detail/engine/request.hpp>
#include <mutex>
#include <new>
#include <utility>


namespace fibers::detail {

scheduler::scheduler(settings s)
    : loop(std::move(s.how_to_sleep), std::move(s.on_unhandled)),
      workers_(s.stack_size, &work),
      overflow_watch_(workers_.stacks(), &describe_running) {
  if (s.virtual_time) virtual_clock_.emplace();
}

// --- which task runs next ---

// Runs on each worker's stack.
void scheduler::work(void* self) noexcept {
  auto& me = *static_cast<worker_pool::worker*>(self);
  auto& loop = static_cast<scheduler&>(*current_);

  // Cache colouring: stacks are aligned alike, so their tops would compete for the same few cache sets.
  constexpr unsigned colours = 16, cache_line = 64;
  auto* const shade = alloca(1 + cache_line * (loop.colour_++ % colours));
  asm volatile("" : : "r"(shade));

  for (;;) {
    task_state& task = *loop.running_;
    task.change(stage::created, stage::running);
    task.control_at_spawn_.load();
    loop.end(task, task.run());
    if (--loop.budget_ > 0 && !loop.ready_.empty() && loop.ready_.first()->stage() == stage::created) {
      loop.is_next(loop.ready_.pop());  // a created task needs a stack: it gets this one
      continue;
    }
    context& target = loop.next();
    loop.workers_.release(me);
    loop.switch_.switch_to(me.where, target);
  }
}

void scheduler::end(task_state& task, ending how) noexcept {
  // Without a handle the value is destroyed while the task still runs: it may hold a task<>, whose destructor suspends.
  if (how == ending::returned && task.owners_.count() == 1) task.drop_value();

  std::unique_lock guard(task.lock());
  if (how == ending::returned && task.cancels().cancelled_itself()) {
    // A returned value wins over a pending cancellation by others, but not over one by the task itself.
    task.cancels().end_with(task.cancels().deliver());
    how = ending::cancelled;
    guard.unlock();
    task.drop_value();
    guard.lock();
  }
  if (how == ending::failed && on_unhandled() != nullptr) task.keep_hook(on_unhandled());
  auto callbacks = task.finish(how);
  guard.unlock();

  call_back_later(callbacks);
  if (task.parent() != nullptr) task.parent()->child_ended(task);
  if (task.awaited_by_loop_) --awaited_;
  tasks_.erase(tasks_.iterator_to(task));
  running_ = nullptr;  // destructors and the hook, which the release may call, must not suspend the task any more
  intrusive_ptr_release(&task);
}

// --- the loop ---

bool scheduler::run() {
  while (awaited_ > 0) {
    look_around();
    if (given_up_) return false;
    if (chooser_ != nullptr) choose_step();
    if (!ready_.empty()) {
      budget_ = 1 + (chooser_ == nullptr ? switches_per_turn : 1);
      context& target = next();
      if (&target != &loop_) switch_.switch_to(loop_, target);
      if (!ready_.empty() && chosen_parker_ != nullptr) chosen_parker_->poll();  // an idle loop parks instead
    } else if (awaited_ > 0 && !sleep()) {
      return false;
    }
  }
  look_around();  // for the callbacks of the tasks that ended last
  return true;
}

// Polls the inbox and the timers, trims stacks, and calls callbacks.
void scheduler::look_around() {
  if (starved_) fail_starved();
  if (!inbox_.empty()) {
    inbox_.drain([this](inbox_entry& entry, std::uint8_t notes) {
      task_ptr const task(static_cast<task_state*>(&entry), false);
      if ((notes & inbox_entry::woken) != 0) make_ready(*task);
      if ((notes & inbox_entry::requested) != 0) serve_request(*task, cancel_round::of(*task));
    });
    if (on_ring_) on_ring_();
  }
  if (chooser_ == nullptr && !timers_.empty()) timers_.fire_due(clock::now());
  if (workers_.has_spare()) workers_.trim();
  while (!callbacks_.empty()) call_back_first();
}

// Fires timers until the chooser chooses a ready task, which comes first then.
void scheduler::choose_step() {
  for (;;) {
    auto const ready = ready_.size(), due = timers_.count_due(clock::now());
    if (ready + due == 0) return;
    auto const chosen = ready + due == 1 ? 0 : chooser_->choose(ready + due);
    if (chosen < ready) {
      ready_.bring_forward(chosen);
      return;
    }
    timers_.fire(chosen - ready);
  }
}

// Parks until an event. Returns false in a deadlock.
bool scheduler::sleep() {
  bool woken = false;
  for (auto& watch : watches_) woken |= watch.at_rest(*this);
  if (woken) return true;
  if (in_virtual_time()) return sleep_in_virtual_time();
  inbox_.sleep(std::min(timers_.next(), workers_.has_spare() ? workers_.next_trim() : time_point::max()));
  return true;
}

// Time jumps to the next timer, unless an outside operation is under way, which virtual time must not overtake.
bool scheduler::sleep_in_virtual_time() {
  bool const busy = outside_work_ > 0 || (chosen_parker_ != nullptr && chosen_parker_->busy());
  if (!ready_.empty() || !inbox_.empty()) return true;
  auto const deadline = timers_.next();
  if (busy) {
    virtual_clock_->move_while(deadline, [this](time_point real_deadline) { inbox_.sleep(real_deadline); });
  } else if (deadline != time_point::max()) {
    virtual_clock_->move_to(deadline);
  } else {
    return false;
  }
  return true;
}

// Fails the first ready task, for which there is no stack.
void scheduler::fail_starved() noexcept {
  starved_ = false;
  task_state& task = ready_.pop();
  task.fail(workers_.stacks().exhausted());
  end(task, ending::failed);
}

void scheduler::call_back_first() {
  auto const callback = callbacks_.pop();
  if (!callback->try_claim()) return;  // it was removed
  try {
    callback->call();
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    report_unhandled(callback->task(), std::current_exception(), "a callback of ");
  }
  callback->drop();
}

// Async-signal-safe: reads only members that no other thread changes while this one runs the task.
void scheduler::describe_running(char* buffer, std::size_t size) noexcept {
  auto const* const loop = current();
  auto const* const task = loop != nullptr ? loop->running() : nullptr;
  if (task == nullptr) {
    std::snprintf(buffer, size, "the loop");
    return;
  }
  char number[32];
  std::snprintf(number, sizeof number, "task-%llu", static_cast<unsigned long long>(task->id_.value));
  auto const* const name =
      task->extras_ != nullptr && !task->extras_->name.empty() ? task->extras_->name.c_str() : number;
  auto const& place = task->spawned_at_;
  std::snprintf(buffer, size, "task '%s' (spawned at %s:%u)", name, place.file_name(),
                static_cast<unsigned>(place.line()));
}

void scheduler::abandon(std::exception_ptr const& error) noexcept {
  workers_.abandon();
  while (!tasks_.empty()) {
    auto& task = tasks_.front();
    if (task.stage() == stage::suspended && task.waiter()->try_claim(claim::closed)) {
      task.waiter()->withdraw();  // the awaited object may outlive the loop
    }
    task.failure_ = error;
    task.looked_at();  // run() throws it
    end(task, ending::failed);
  }
}

}  // namespace fibers::detail
