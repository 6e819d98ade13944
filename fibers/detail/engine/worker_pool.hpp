// SPDX-License-Identifier: BSL-1.0
#pragma once

// The stacks on which tasks run. Each belongs to a worker: a fiber that runs one task after the other. A task gets a
// worker when it first runs. A worker whose task has ended is idle until it is needed again, last in first out, so the
// stack that is used next is the one that is still in the cache.

#include <cstddef>
#include <exception>
#include <fibers/clock.hpp>
#include <fibers/detail/parts/context.hpp>
#include <vector>

#include "../parts/stack_pool.hpp"

namespace fibers::detail {

class worker_pool {
 public:
  struct alignas(16) worker {
    context where;  // while it is idle
    stack memory;
  };

  /// work(worker) runs on the stack of each worker and never returns.
  worker_pool(std::size_t stack_size, void (*work)(void* worker)) : work_(work), stacks_(stack_size) {}
  ~worker_pool();
  worker_pool(worker_pool const&) = delete;
  worker_pool& operator=(worker_pool const&) = delete;

  /// Takes an idle worker, or makes one. Returns null if there is no memory for its stack.
  context* acquire() noexcept;
  /// The caller switches away from this worker next.
  void release(worker& idle) noexcept { idle_.push_back(&idle); }

  /// Is it worth calling trim() at next_trim()?
  bool has_spare() const noexcept { return idle_.size() > kept || stacks_to_trim_; }
  time_point next_trim() const noexcept { return next_trim_; }
  /// Gives memory of idle workers and stacks back to the system. Limits itself, so it may be called at any time.
  void trim() noexcept;

  /// Workers are left that will never be idle: their stacks stay mapped.
  void abandon() noexcept { stacks_.abandon(); }

  stack_pool const& stacks() const noexcept { return stacks_; }

 private:
  static constexpr std::size_t kept = 16;  // idle workers that keep their memory

  void retire(worker& idle) noexcept;

  void (*const work_)(void*);
  std::vector<worker*> idle_;  // the last one is the warmest
  std::size_t workers_ = 0;
  std::size_t coldest_ = 0;  // how many were idle all the time since the last round of trim()
  time_point next_round_ = time_point::min();
  time_point next_trim_ = time_point::min();
  bool stacks_to_trim_ = false;
  stack_pool stacks_;
};

}  // namespace fibers::detail
