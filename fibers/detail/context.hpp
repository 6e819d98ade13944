// SPDX-License-Identifier: BSL-1.0
#pragma once

// The only room that knows Boost.Context: a stack, a switch, and the state of C++ exceptions.
//
// Each fiber has its own state of exceptions: which ones are being handled, innermost first, and how many are in
// flight. The C++ runtime keeps it per thread, in two words. They are saved when a fiber is left and put back when it
// goes on; a new fiber starts with none. So `throw;` after a suspension in a handler throws what that fiber caught, and
// uncaught_exceptions() counts that fiber's. Fibers never change thread, so where the words are is asked once a loop.
//
// A fiber here never ends: one that has nothing left to do is gone on with to do something else, or is forgotten, which
// is allowed when its frames hold nothing that must be destroyed.

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <fibers/detail/context.hpp>
#include <new>
#include <utility>

#include "stack_pool.hpp"

#if defined(FIBERS_ADDRESS_SANITIZER)
#include <sanitizer/common_interface_defs.h>
#elif defined(FIBERS_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace fibers::detail {

struct exception_state {  // as the C++ ABI lays it out
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

/// One per loop; knows the switch that is under way.
class context_switch {
 public:
  context_switch() noexcept;

  /// How many exceptions are unwinding the running fiber's stack, as std::uncaught_exceptions().
  unsigned uncaught_exceptions() const noexcept { return exceptions_->uncaught; }

  /// Stops the running fiber, leaves in `self` how to go on with it, and goes on with `target`.
  void switch_to(context& self, context& target) noexcept {
    auto const exceptions = *exceptions_;
    left_ = &self;
    void* const token = leave(self, target);
    arrive(std::move(stored(target)).resume(), token);
    *exceptions_ = exceptions;
  }

  /// Makes a fiber that calls function(argument) on this stack once it is switched to. The function never returns.
  void create(context& made, stack memory, void (*function)(void*), void* argument) noexcept;

  /// The fiber will not be gone on with; its stack may be used anew.
  static void forget(context& fiber) noexcept;

 private:
  using boost_fiber = boost::context::fiber;
  static_assert(sizeof(boost_fiber) == sizeof(context::fiber_) && alignof(boost_fiber) <= alignof(void*));

  friend class context;
  static boost_fiber& stored(context& c) noexcept { return *std::launder(reinterpret_cast<boost_fiber*>(c.fiber_)); }

  // The sanitizers' view of a switch is told on both sides of it. leave() must be a part of its caller: they count
  // entries to and exits from functions per fiber.
  [[gnu::always_inline]] void* leave([[maybe_unused]] context& self, [[maybe_unused]] context& target) noexcept {
    void* token = nullptr;
#if defined(FIBERS_ADDRESS_SANITIZER)
    __sanitizer_start_switch_fiber(&token, target.sanitizer_stack_, target.sanitizer_size_);
#elif defined(FIBERS_THREAD_SANITIZER)
    self.sanitizer_stack_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(target.sanitizer_stack_, 0);
#endif
    return token;
  }

  void arrive(boost_fiber from, [[maybe_unused]] void* token) noexcept {
#if defined(FIBERS_ADDRESS_SANITIZER)
    void const* stack = nullptr;
    __sanitizer_finish_switch_fiber(token, &stack, &left_->sanitizer_size_);
    left_->sanitizer_stack_ = const_cast<void*>(stack);
#endif
    stored(*left_) = std::move(from);
  }

  exception_state* exceptions_;
  context* left_ = nullptr;
};

}  // namespace fibers::detail
