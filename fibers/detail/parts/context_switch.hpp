// SPDX-License-Identifier: BSL-1.0
#pragma once

// The only room that knows Boost.Context: a stack, a switch, and the state of C++ exceptions.
//
// Each fiber has its own state of exceptions: which ones are being handled, innermost first, and how many are in
// flight. The C++ runtime keeps it per thread, in two words. They are saved when a fiber is left and put back when it
// goes on; a new fiber starts with none. So `throw;` after a suspension in a handler throws what that fiber caught, and
// uncaught_exceptions() counts that fiber's. Fibers never change thread, so where the words are is asked once a loop.
//
// Each fiber has its own floating_point_control, too. A library that changes the rounding mode around a call must not
// change it for other tasks when that call suspends. Boost.Context's jump saves and loads the two registers on x86-64,
// and switch_to() does it elsewhere. Measured with two fibers on x86-64: 5.9 ns a switch, of which the two registers
// take 1.7 ns (a switch of the same kind without them takes 4.2 ns).
//
// A fiber here never ends, and is never unwound from outside: one that has nothing left to do is gone on with to do
// something else, or forgotten, which is allowed when its frames hold nothing that must be destroyed.
//
// This uses Boost.Context's two primitives, make_fcontext and jump_fcontext, and not the class on top of them. That
// class unwinds fibers, which we never want; from Boost 1.88 on it saves exceptions too, up to 1.91 with faults; and it
// calls the jump in a way that costs more than the jump itself (see jump below).
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

/// One per loop; knows the switch that is under way.
class context_switch {
 public:
  context_switch() noexcept;

  /// How many exceptions are unwinding the running fiber's stack, as std::uncaught_exceptions().
  static unsigned uncaught_exceptions() noexcept { return thread_.exceptions->uncaught; }

  /// Stops the running fiber, leaves in `self` how to go on with it, and goes on with `target`.
  ///
  /// Inlined, as its callers should be: the processor predicts the target of a return from the latest call, and after a
  /// switch that call was made by another fiber.
  [[gnu::always_inline]] static void switch_to(context& self, context& target) noexcept {
    // Word by word, as they are written: one load of both would have to wait until both writes have left the processor.
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

  /// Makes a fiber that calls function(argument) on this stack once it is switched to. The function never returns.
  static void create(context& made, stack memory, void (*function)(void*), void* argument) noexcept;

  /// Says that `next` is likely to be switched to soon: fetches the top of its stack. (10,000 fibers, whose stacks are
  /// in no near cache: 28 ns a switch instead of 55.)
  static void prefetch(context const& next) noexcept {
    auto const top = reinterpret_cast<std::uintptr_t>(next.stopped_at_);  // null for one that has not begun
    __builtin_prefetch(reinterpret_cast<void const*>(top));
    __builtin_prefetch(reinterpret_cast<void const*>(top + 64));
  }

  /// The fiber will not be gone on with; its stack may be used anew.
  static void forget(context& fiber) noexcept;

 private:
  // Resumes a fiber. Returns when this one is resumed, with the place where the resuming fiber has stopped.
  //
  // jump_fcontext is entered by a call and leaves by a jump, on another stack. The processor, which keeps a stack of
  // its own of calls to return from, is one call off after that, and mispredicts every return from then on. So here the
  // return address is pushed by hand and the function is jumped to: then calls and returns match again, and between
  // fibers that wait in the same place every return is predicted rightly. (With 1,000 of them that is 10 ns a switch
  // instead of 20.)
  //
  // A profiler or a debugger may unwind the stack from any instruction of this. The address of the frame makes the
  // compiler keep a base pointer, so the unwind information finds the frame wherever the stack pointer is. Inside of
  // Boost.Context's jump, which has no unwind information, a walk ends.
  [[gnu::always_inline]] static void* jump(void* target) noexcept {
#if defined(__x86_64__) && defined(__LP64__)
    void* from = nullptr;
    asm volatile("" : : "r"(__builtin_frame_address(0)));
    asm volatile(
        "movq %%rsp, %%r12\n\t"        // not rbx: clang keeps the frame's base there, and does not save it
        "leaq -128(%%rsp), %%rsp\n\t"  // what lies there may be in use
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

  // The sanitizers are told of a switch on both sides of it. leave() must be a part of its caller: they count entries
  // to and exits from functions per fiber.
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

  // Of the thread, and no members: after a switch these are found at once, while `this` is kept on the stack switched
  // to, which may have to be fetched first. (1,000 fibers: 10.5 ns a switch instead of 12.)
  struct thread {
    exception_state* exceptions;
    context* left;  // while a switch is under way
  };
  [[gnu::tls_model("initial-exec")]] static constinit thread_local thread thread_;
};

}  // namespace fibers::detail
