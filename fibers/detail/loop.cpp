// SPDX-License-Identifier: BSL-1.0

#include "loop.hpp"

#include <utility>

namespace fibers::detail {

constinit thread_local loop* loop::current_ = nullptr;

namespace {
// Numbers of tasks are handed out to loops by the block, so that a spawn shares nothing with other threads.
constexpr std::uint64_t ids_per_block = 1024;
constinit std::atomic<std::uint64_t> ids_given_out = 0;
}  // namespace

loop::loop(std::unique_ptr<parker> p, std::shared_ptr<unhandled_exception_hook const> on_unhandled) noexcept
    : parker_(std::move(p)), inbox_(*parker_), on_unhandled_(std::move(on_unhandled)) {
  current_ = this;
}

loop::~loop() {
  // If no other loop took a block since, the numbers that were not used are the next loop's.
  auto expected = last_id_;
  ids_given_out.compare_exchange_strong(expected, next_id_);
  current_ = nullptr;
}

void loop::add(task_state& task, boost::source_location const& place) {
  if (next_id_ == last_id_) {
    next_id_ = ids_given_out.fetch_add(ids_per_block);
    last_id_ = next_id_ + ids_per_block;
  }
  task.id_ = {++next_id_};
  task.loop_ = this;
  task.spawned_at_ = place;
  if (running_ != nullptr) task.locals_ = running_->locals_;
  intrusive_ptr_add_ref(&task);  // for tasks_
  tasks_.push_back(task);
  ready_.push(task);
}

std::string loop::describe_tasks() {
  constexpr std::size_t most = 20;
  std::string text;
  std::size_t count = 0;
  for (auto& task : tasks_) {
    if (++count > most) {
      text += "\n  and " + std::to_string(tasks_.size() - most) + " more";
      break;
    }
    text += "\n  '" + task.name() + "' ";
    if (task.stage() == stage::suspended) {
      auto const& place = task.waiter()->place();
      text += "waits at " + to_string(place) + " (" + place.function_name() + ")";
    } else {
      text += "is ready";
    }
  }
  return text;
}

}  // namespace fibers::detail
