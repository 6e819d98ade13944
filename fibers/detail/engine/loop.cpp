// SPDX-License-Identifier: BSL-1.0

#include "loop.hpp"

#include <dlfcn.h>
#include <sys/auxv.h>

#include <fibers/error.hpp>
#include <utility>


namespace fibers::detail {

constinit thread_local loop* loop::current_ = nullptr;

namespace {
// Loops take task numbers by the block, so that a spawn shares no state with other threads.
constexpr std::uint64_t ids_per_block = 1024;
constinit std::atomic<std::uint64_t> ids_given_out = 0;

constinit thread_local parker_source* newest_source = nullptr;
constinit std::atomic<parker_source::function> source_of_program = nullptr;

// Returns false for a function of a shared library.
bool is_of_program(void const* function) noexcept {
  Dl_info there = {}, program = {};
  auto const* const headers = reinterpret_cast<void const*>(::getauxval(AT_PHDR));
  if (::dladdr(function, &there) == 0 || ::dladdr(headers, &program) == 0) return true;  // it is linked statically
  return there.dli_fbase == program.dli_fbase;
}
}  // namespace

loop::loop(std::unique_ptr<parker> chosen, std::shared_ptr<unhandled_exception_hook const> on_unhandled) noexcept
    : chosen_parker_(std::move(chosen)),
      inbox_(chosen_parker_ != nullptr ? *chosen_parker_ : thread_parker_),
      on_unhandled_(std::move(on_unhandled)) {
  current_ = this;
}

loop::~loop() {
  // If no other loop has taken a block since, the next loop gets the unused numbers.
  auto expected = last_id_;
  ids_given_out.compare_exchange_strong(expected, next_id_);
  current_ = found_;
}

void loop::expect_signals() {
  expects_signals_ = true;
  if (chosen_parker_ != nullptr) chosen_parker_->expect_signals();
}

void loop::choose(std::unique_ptr<parker> chosen) {
  if (expects_signals_) chosen->expect_signals();
  chosen_parker_ = std::move(chosen);
  inbox_.use(*chosen_parker_);
}

void loop::add(task_state& task, boost::source_location const& place) {
  if (next_id_ == last_id_) {
    next_id_ = ids_given_out.fetch_add(ids_per_block);
    last_id_ = next_id_ + ids_per_block;
  }
  task.id_ = {++next_id_};
  task.loop_ = this;
  task.spawned_at_ = place;
  task.control_at_spawn_.save();
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

// --- for header-only components ---

parker* chosen_parker(boost::source_location const& place) {
  if (auto* const here = loop::current()) return here->chosen_parker();
  throw invalid_state_error("fibers: this needs a running loop: call it inside of fibers::run([] { … }) (" +
                            to_string(place) + ")");
}

parker* chosen_parker() noexcept {
  auto* const here = loop::current();
  return here != nullptr ? here->chosen_parker() : nullptr;
}

void choose_parker(std::unique_ptr<parker> chosen) { loop::current()->choose(std::move(chosen)); }

parker_source::parker_source(function make) noexcept : make_(make), older_(std::exchange(newest_source, this)) {}

parker_source::~parker_source() {
  auto** place = &newest_source;
  while (*place != this) place = &(*place)->older_;
  *place = older_;
}

program_parker_source::program_parker_source(parker_source::function make) noexcept {
  if (is_of_program(reinterpret_cast<void const*>(make))) source_of_program.store(make);
}

program_parker_source::~program_parker_source() { source_of_program.store(nullptr); }

std::unique_ptr<parker> parker_of_this_thread() {
  auto const make = newest_source != nullptr ? newest_source->make_ : source_of_program.load();
  return make != nullptr ? make() : nullptr;
}

void report_unhandled(task_state& task, std::exception_ptr const& error, char const* where) noexcept {
  task.report(task.loop().on_unhandled().get(), error, where);
}

void report_unhandled(char const* what, std::exception_ptr const& error) noexcept {
  auto* const here = loop::current();
  auto* const task = here != nullptr ? here->running() : nullptr;
  auto const* const hook = here != nullptr ? here->on_unhandled().get() : nullptr;
  auto const source = task != nullptr ? task->name() + ", " + what : std::string(what);
  report_unhandled(hook, source, error, source + " failed");
}

bool loop_is_here() noexcept { return loop::current() != nullptr; }

loop_absence::loop_absence() noexcept
    : loop_(loop::current_), virtual_now_(loop_ != nullptr ? use_virtual_now(loop_->found_now_) : nullptr) {
  if (loop_ != nullptr) loop::current_ = loop_->found_;
}

loop_absence::~loop_absence() {
  if (loop_ == nullptr) return;
  loop_->found_ = std::exchange(loop::current_, loop_);
  loop_->found_now_ = use_virtual_now(virtual_now_);
}

}  // namespace fibers::detail
