// SPDX-License-Identifier: BSL-1.0
#pragma once

// Turns a stack overflow of a fiber into a message and an abort. It cannot be an exception: the function that would
// throw has no stack left.

#include <cstddef>

#include "stack_pool.hpp"

namespace fibers::detail {

// While it lives, a fault of this thread in a guard page of the pool is reported on stderr:
//
//     fibers: task 'parse' (spawned at parser.cpp:12) overflowed its 256 KiB stack; ...advice...
//
// and the process aborts. Every other fault is forwarded to the previous handler. One watch per loop, created and
// destroyed on the loop's thread; several loops on one thread may end in any order.
class overflow_watch {
 public:
  // Writes the running task's description, as "task 'parse' (spawned at parser.cpp:12)", with a terminating zero. It
  // runs in a signal handler with some 30 KiB of stack: it may read, but not allocate or lock.
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
