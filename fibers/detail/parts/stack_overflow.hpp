// SPDX-License-Identifier: BSL-1.0
#pragma once

// Turns the fault of a fiber that ran off its stack into a sentence and an abort. It is no exception:
// the function it would be thrown from has no stack left to run on.

#include <cstddef>

#include "stack_pool.hpp"

namespace fibers::detail {

// While it lives, a fault of this thread in a guard page of the pool is reported on stderr:
//
//     fibers: task 'parse' (spawned at parser.cpp:12) overflowed its 256 KiB stack; ...advice...
//
// and the process aborts. Every other fault goes to the handler that was there before. One for each loop,
// made and destroyed on the loop's thread; several loops on one thread may end in any order.
class overflow_watch {
 public:
  // Writes who is running, as "task 'parse' (spawned at parser.cpp:12)", with a terminating zero. It is
  // called in a signal handler with little stack (some 30 KiB): it may read, but not allocate or lock.
  using describe_function = void (*)(char* buffer, std::size_t size) noexcept;

  overflow_watch(stack_pool const&, describe_function);  // throws bad_alloc or system_error
  ~overflow_watch();
  overflow_watch(overflow_watch const&) = delete;
  overflow_watch& operator=(overflow_watch const&) = delete;

 private:
  friend struct fault_handler;

  stack_pool const& pool_;
  describe_function describe_;
  overflow_watch* next_;  // the next watch of this thread
};

}  // namespace fibers::detail
