// SPDX-License-Identifier: BSL-1.0

#include "scenario.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "check.hpp"

namespace parity {
namespace {

constexpr std::int64_t most_steps = 1'000'000;
constexpr std::size_t most_tasks = 20'000;

std::string joined(std::vector<std::string> const& texts) {
  std::string all;
  for (auto const& text : texts) all += (all.empty() ? "" : ",") + text;
  return all;
}

std::int64_t now() { return std::chrono::duration_cast<milliseconds>(fibers::clock::now().time_since_epoch()).count(); }

}  // namespace

spelling spell(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (fibers::cancelled_error const& e) {
    return {e.message().empty() ? "cancelled" : "cancelled(" + e.message() + ")", "cancelled"};
  } catch (scenario_error const& e) {
    return {e.what(), "error"};
  } catch (fibers::timeout_error const&) {
    return {"timeout", "timeout"};
  } catch (fibers::exception_group const& group) {
    std::vector<std::string> texts;
    for (auto const& leaf : group.leaves()) texts.push_back(spell(leaf).text);
    std::sort(texts.begin(), texts.end());
    return {"group(" + joined(texts) + ")", "group"};
  } catch (fibers::invalid_state_error const&) {  // thrown by a wait for the task itself
    return {"misuse", "error"};
  } catch (std::exception const& e) {
    throw unplayable(e.what());
  }
}

std::string text_of(json::value const& value) {
  if (value.is_null()) return "none";
  if (value.is_string()) return std::string(value.as_string());
  return std::to_string(value.as_int64());
}

std::string list(std::vector<std::string> const& texts) { return "[" + joined(texts) + "]"; }

std::string record::outcome() const {
  try {
    auto const error = task.exception();
    return error != nullptr ? "!" + spell(error).text : "=" + value;
  } catch (fibers::cancelled_error const&) {
    return "!" + spell(std::current_exception()).text;
  }
}

record* scenario::find(std::string const& name) const {
  auto const found = latest_.find(name);
  return found != latest_.end() ? found->second : nullptr;
}

record& scenario::new_record() {
  if (records_.size() == most_tasks) {
    give_up("more than " + std::to_string(most_tasks) + " tasks");
    throw fibers::cancelled_error();
  }
  return records_.emplace_back();
}

void scenario::created(record& self, std::string const& name, fibers::task_handle<std::string> task) {
  auto const number = ++times_[name];
  self.name = number == 1 ? name : name + "#" + std::to_string(number);
  self.task = std::move(task);
  latest_[name] = &self;
  self.task.on_done([this, &self] {
    try {
      auto const how = self.outcome();
      auto const failed = how[0] == '!' && !self.task.cancelled();
      trace(self, (failed ? "failed:" : how[0] == '=' ? "done:" : "") + how.substr(1));
    } catch (unplayable const& error) {
      give_up(error.what());
    }
  });
}

std::int64_t scenario::size(char const* kind, std::string const& name, std::int64_t otherwise) const {
  auto const* const sizes = text_.if_contains(kind);
  auto const* const size = sizes != nullptr ? sizes->as_object().if_contains(name) : nullptr;
  return size != nullptr ? size->as_int64() : otherwise;
}

fibers::semaphore& scenario::semaphore(std::string const& name) {
  auto& made = semaphores_[name];
  if (made == nullptr) made = std::make_unique<fibers::semaphore>(size("sems", name, 1));
  return *made;
}

fibers::barrier& scenario::barrier(std::string const& name) {
  auto& made = barriers_[name];
  if (made == nullptr) made = std::make_unique<fibers::barrier>(size("barriers", name, 2));
  return *made;
}

fibers::queue<std::string>& scenario::queue(std::string const& name) {
  auto& made = queues_[name];
  if (made == nullptr) {
    auto const capacity = size("queues", name, 0);
    made = std::make_unique<fibers::queue<std::string>>(capacity <= 0 ? fibers::unbounded
                                                                      : static_cast<std::size_t>(capacity));
  }
  return *made;
}

void scenario::trace(record& self, std::string event) {
  if (!over_) self.events.emplace_back(now(), std::move(event));
}

void scenario::step() {
  if (++steps_ > most_steps) give_up("more than " + std::to_string(most_steps) + " statements");
  if (now() > latest) give_up("it takes more than " + std::to_string(latest) + " ms");
  if (over_) throw fibers::cancelled_error();
}

void scenario::deadlock() {
  deadlock_ = true;
  for (auto& each : records_) {
    if (!each.task.done()) trace(each, "deadlock");
  }
  over_ = true;
}

// A cancelled task that waits for a condition continues only with the lock, whose owner may wait for that task.
bool scenario::unwind() {
  for (auto& [name, lock] : locks_) {
    static_cast<void>(lock.try_lock());
    lock.unlock();
  }
  bool ended = true;
  for (auto const& each : records_) ended = !each.task.cancel() && ended;
  return ended;
}

void scenario::give_up(std::string why) {
  if (over_) return;
  problem_ = std::move(why);
  over_ = true;
  for (auto const& each : records_) {
    if (each.task) each.task.cancel();
  }
}

}  // namespace parity
