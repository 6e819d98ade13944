// SPDX-License-Identifier: BSL-1.0

#include "context.hpp"

#include <cxxabi.h>

#include <boost/context/preallocated.hpp>
#include <boost/context/stack_context.hpp>
#include <exception>

namespace fibers::detail {

namespace {
// The stack is the pool's; Boost.Context would give it back when a fiber ends, which ours never do.
struct borrowed_stack {
  static boost::context::stack_context allocate() { std::terminate(); }
  static void deallocate(boost::context::stack_context&) noexcept {}
};
}  // namespace

context::context() noexcept { new (fiber_) boost::context::fiber; }

context::operator bool() const noexcept {
  return static_cast<bool>(*std::launder(reinterpret_cast<boost::context::fiber const*>(fiber_)));
}

context_switch::context_switch() noexcept
    : exceptions_(reinterpret_cast<exception_state*>(abi::__cxa_get_globals())) {}

void context_switch::create(context& made, stack memory, void (*function)(void*), void* argument) noexcept {
  boost::context::stack_context boost_stack;
  boost_stack.sp = memory.top;
  boost_stack.size = static_cast<std::size_t>(memory.top - memory.bottom);

#if defined(FIBERS_ADDRESS_SANITIZER)
  made.sanitizer_stack_ = memory.bottom;
  made.sanitizer_size_ = boost_stack.size;
#elif defined(FIBERS_THREAD_SANITIZER)
  // Boost.Context goes to the new stack and comes back; what is entered there belongs to the new fiber.
  made.sanitizer_stack_ = __tsan_create_fiber(0);
  void* const self = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(made.sanitizer_stack_, 0);
#endif
  stored(made) = boost_fiber(std::allocator_arg, boost::context::preallocated(memory.top, boost_stack.size, boost_stack),
                             borrowed_stack(), [this, function, argument](boost_fiber&& from) -> boost_fiber {
                               arrive(std::move(from), nullptr);
                               *exceptions_ = {};
                               function(argument);
                               std::terminate();
                             });
#if defined(FIBERS_THREAD_SANITIZER)
  __tsan_switch_to_fiber(self, 0);
#endif
}

void context_switch::forget(context& fiber) noexcept {
#if defined(FIBERS_THREAD_SANITIZER)
  __tsan_destroy_fiber(fiber.sanitizer_stack_);
#endif
  new (fiber.fiber_) boost_fiber;  // not assigned: that would unwind the fiber's stack
}

}  // namespace fibers::detail
