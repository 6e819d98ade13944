// SPDX-License-Identifier: BSL-1.0

#include "context_switch.hpp"

#include <cxxabi.h>

#include <cstdlib>

namespace fibers::detail {

constinit thread_local context_switch::thread context_switch::thread_ = {};

context_switch::context_switch() noexcept {
  thread_.exceptions = reinterpret_cast<exception_state*>(abi::__cxa_get_globals());
}

void context_switch::create(context& made, stack memory, void (*function)(void*), void* argument) noexcept {
  auto const size = static_cast<std::size_t>(memory.top - memory.bottom);
  beginning first{function, argument};
#if defined(FIBERS_ADDRESS_SANITIZER)
  made.sanitizer_stack_ = memory.bottom;
  made.sanitizer_size_ = size;
#elif defined(FIBERS_THREAD_SANITIZER)
  made.sanitizer_stack_ = __tsan_create_fiber(0);
  void* const self = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(made.sanitizer_stack_, 0);
#endif
  auto* const fiber = boost::context::detail::make_fcontext(memory.top, size, &begin);
  made.stopped_at_ = boost::context::detail::jump_fcontext(fiber, &first).fctx;  // to begin(), and back
#if defined(FIBERS_THREAD_SANITIZER)
  __tsan_switch_to_fiber(self, 0);
#endif
}

// The lowest frame of each fiber. It copies its argument from create()'s stack and jumps back to create().
void context_switch::begin(boost::context::detail::transfer_t creator) noexcept {
  auto const first = *static_cast<beginning*>(creator.data);
  arrive(boost::context::detail::jump_fcontext(creator.fctx, nullptr).fctx, nullptr);
  *thread_.exceptions = {};
  first.function(first.argument);
  std::abort();  // not reached: the function never returns
}

void context_switch::forget(context& fiber) noexcept {
#if defined(FIBERS_THREAD_SANITIZER)
  __tsan_destroy_fiber(fiber.sanitizer_stack_);
#endif
  fiber.stopped_at_ = nullptr;
}

}  // namespace fibers::detail
