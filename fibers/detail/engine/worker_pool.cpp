// SPDX-License-Identifier: BSL-1.0

#include "worker_pool.hpp"

#include <algorithm>
#include <chrono>
#include <new>

#include "../parts/context_switch.hpp"

namespace fibers::detail {

worker_pool::~worker_pool() {
  for (auto* const idle : idle_) retire(*idle);
}

context* worker_pool::acquire() noexcept {
  if (!idle_.empty()) {
    auto* const warmest = idle_.back();
    idle_.pop_back();
    coldest_ = std::min(coldest_, idle_.size());
    return &warmest->where;
  }
  try {
    if (idle_.capacity() <= workers_) idle_.reserve(2 * workers_ + 16);  // release() must not fail
    auto const memory = stacks_.allocate();
    auto* const made = new (memory.top - sizeof(worker)) worker{.where = {}, .memory = memory};
    context_switch::create(made->where, {memory.bottom, memory.top - sizeof(worker)}, work_, made);
    ++workers_;
    return &made->where;
  } catch (std::bad_alloc const&) {
    return nullptr;
  }
}

// Gives memory of idle workers and stacks back to the system, in rounds. A round retires half of the workers that were
// idle since the last round, the coldest first, and has the pool choose as many stacks. The loop calls this in each of
// its turns, so a busy loop gives back as much as an idle one does. A slice in each interval limits the cost to a tenth
// of the loop's time, and the pause to a millisecond.
void worker_pool::trim() noexcept {
  constexpr auto between_rounds = std::chrono::milliseconds(100), between_slices = std::chrono::milliseconds(10);
  constexpr auto slice = std::chrono::milliseconds(1);
  constexpr std::size_t most_retired = 4096;          // takes less than a slice
  auto const now = std::chrono::steady_clock::now();  // memory is real in virtual time, too
  if (now < next_trim_) return;
  if (now >= next_round_) {
    next_round_ = now + between_rounds;
    auto const surplus = coldest_ > kept ? std::min((coldest_ - kept + 1) / 2, most_retired) : 0;
    auto const end = idle_.begin() + static_cast<std::ptrdiff_t>(surplus);
    std::for_each(idle_.begin(), end, [this](auto* cold) { retire(*cold); });
    idle_.erase(idle_.begin(), end);
    coldest_ = idle_.size();
    stacks_.begin_trim();
  }
  auto const left = stacks_.trim(now + slice);
  stacks_to_trim_ = left != trim_left::nothing;
  next_trim_ = left == trim_left::now ? now + between_slices : next_round_;
}

void worker_pool::retire(worker& idle) noexcept {
  context_switch::forget(idle.where);
  --workers_;
  stacks_.release(idle.memory);
}

}  // namespace fibers::detail
