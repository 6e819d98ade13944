// SPDX-License-Identifier: BSL-1.0
#pragma once

// The only component that knows Boost.Context: a stack, a switch, and the C++ exception state.
//
// Each fiber has its own exception state: the exceptions being handled, innermost first, and the number in flight. The
// C++ runtime keeps it per thread, in two words. A switch saves them, and restores them when the fiber resumes; a new
// fiber starts with none. `throw;` after a suspension in a handler therefore rethrows that fiber's exception, and
// uncaught_exceptions() counts that fiber's. Fibers never change thread: the words' address is looked up once per loop.
//
// Each fiber has its own floating_point_control, too. A library that changes the rounding mode around a call must not
// change it for other tasks when that call suspends. Boost.Context's jump saves and loads the two registers on x86-64,
// and switch_to() does it elsewhere. Measured with two fibers on x86-64: 5.9 ns a switch, of which the two registers
// take 1.7 ns (the same switch without them takes 4.2 ns).
//
// A fiber never ends, and is never unwound from outside. A fiber without work is resumed with other work, or forgotten.
// Precondition of forget(): its frames hold nothing that must be destroyed.
//
// This uses Boost.Context's two primitives, make_fcontext and jump_fcontext, and not the class on top of them. The
// class unwinds fibers, which we never want. From Boost 1.88 on it saves exceptions too, up to 1.91 with bugs. Its call
// of the jump costs more than the jump itself (see jump below).
//
// CET is not supported: a fiber has no shadow stack of its own, and the instruction at which a fiber resumes is not
// marked as a branch target. The library is therefore built with -fcf-protection=none. The loader enables shadow stacks
// and branch tracking only if every object of a process is marked for them, and leaves them off here.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>
#include <fibers/detail/parts/context.hpp>

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

/// One per loop.
class context_switch {
 public:
  context_switch() noexcept;

  /// The number of exceptions that unwind the running fiber's stack, as std::uncaught_exceptions().
  static unsigned uncaught_exceptions() noexcept { return thread_.exceptions->uncaught; }

  /// Suspends the running fiber, stores its state in `self`, and resumes `target`.
  ///
  /// Inlined, as its callers should be: a processor predicts a return from the latest call, which after a switch was
  /// another fiber's.
  [[gnu::always_inline]] static void switch_to(context& self, context& target) noexcept {
    // Word by word, as they are written: one load of both would stall on store forwarding.
    auto* const caught = thread_.exceptions->caught;
    auto const uncaught = thread_.exceptions->uncaught;
    thread_.left = &self;
    void* const token = leave(self, target);
#if !defined(__x86_64__)
    floating_point_control control;
    control.save();
#endif
    arrive(jump(target.stopped_at_), token);
#if !defined(__x86_64__)
    control.load();
#endif
    thread_.exceptions->caught = caught;
    thread_.exceptions->uncaught = uncaught;
  }

  /// Creates a fiber that calls function(argument) on this stack when it is first resumed. The function never returns.
  static void create(context& made, stack memory, void (*function)(void*), void* argument) noexcept;

  /// Prefetches the top of the stack of `next`, which is likely to be resumed soon. (10,000 fibers, whose stacks are in
  /// no near cache: 28 ns a switch instead of 55.)
  static void prefetch(context const& next) noexcept {
    auto const top = reinterpret_cast<std::uintptr_t>(next.stopped_at_);  // null before the fiber has started
    __builtin_prefetch(reinterpret_cast<void const*>(top));
    __builtin_prefetch(reinterpret_cast<void const*>(top + 64));
  }

  /// The fiber is never resumed again; its stack may be reused.
  static void forget(context& fiber) noexcept;

 private:
  // Resumes a fiber. Returns when this fiber is resumed, with the point at which the resuming fiber was suspended.
  //
  // jump_fcontext is entered by a call and leaves by a jump, on another stack. The processor's return stack buffer is
  // one call off after that, and mispredicts every return from then on. This function therefore pushes the return
  // address itself and jumps to jump_fcontext: calls and returns match again, and between fibers that wait at the same
  // call site every return is predicted correctly. (1,000 fibers: 10 ns a switch instead of 20.)
  //
  // A profiler or a debugger may unwind the stack from any instruction of this function. The address of the frame makes
  // the compiler keep a base pointer, so the unwind information finds the frame wherever the stack pointer is. Inside
  // Boost.Context's jump, which has no unwind information, a walk ends.
  [[gnu::always_inline]] static void* jump(void* target) noexcept {
#if defined(__x86_64__) && defined(__LP64__)
    void* from = nullptr;
    asm volatile("" : : "r"(__builtin_frame_address(0)));
    asm volatile(
        "movq %%rsp, %%r12\n\t"        // not rbx: clang keeps the frame's base there, and does not save it
        "leaq -128(%%rsp), %%rsp\n\t"  // the red zone may be in use
        "andq $-16, %%rsp\n\t"
        "leaq 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        "xorl %%esi, %%esi\n\t"
        "jmp *%[jump]\n"
        "1:\tmovq %%r12, %%rsp"
        : "=&a"(from), "+D"(target)
        : [jump] "r"(&boost::context::detail::jump_fcontext)
        : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
          "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return from;
#else
    return boost::context::detail::jump_fcontext(target, nullptr).fctx;
#endif
  }

  // Sanitizers are notified on both sides of a switch. leave() must be inlined: they count function entries and exits
  // per fiber.
  [[gnu::always_inline]] static void* leave([[maybe_unused]] context& self, [[maybe_unused]] context& target) noexcept {
    void* token = nullptr;
#if defined(FIBERS_ADDRESS_SANITIZER)
    __sanitizer_start_switch_fiber(&token, target.sanitizer_stack_, target.sanitizer_size_);
#elif defined(FIBERS_THREAD_SANITIZER)
    self.sanitizer_stack_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(target.sanitizer_stack_, 0);
#endif
    return token;
  }

  [[gnu::always_inline]] static void arrive(void* from, [[maybe_unused]] void* token) noexcept {
#if defined(FIBERS_ADDRESS_SANITIZER)
    void const* stack = nullptr;
    __sanitizer_finish_switch_fiber(token, &stack, &thread_.left->sanitizer_size_);
    thread_.left->sanitizer_stack_ = const_cast<void*>(stack);
#endif
    thread_.left->stopped_at_ = from;
  }

  struct beginning {
    void (*function)(void*);
    void* argument;
  };
  [[noreturn]] static void begin(boost::context::detail::transfer_t from) noexcept;

  // Thread-local, not members: after a switch `this` would have to be loaded from the new stack, which may not be
  // cached. (1,000 fibers: 10.5 ns a switch instead of 12.)
  struct thread {
    exception_state* exceptions;
    context* left;  // while a switch is under way
  };
  [[gnu::tls_model("initial-exec")]] static constinit thread_local thread thread_;
};

}  // namespace fibers::detail
