// SPDX-License-Identifier: BSL-1.0

// A profiler or a debugger unwinds the stack wherever a fiber is, also in the middle of a switch.

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>
#include <unwind.h>

#include <chrono>
#include <cstdint>
#include <fibers/detail/parts/context.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <string>

#include "catch.hpp"
#include "child.hpp"

using namespace std::chrono_literals;
using fibers::testing::in_child;

#if defined(FIBERS_ADDRESS_SANITIZER) || defined(FIBERS_THREAD_SANITIZER) || defined(FIBERS_VALGRIND)
#define FIBERS_TEST_NEEDS_SIGNALS_AT_ONCE SKIP("the tool delays signals, or unwinds the stack itself")
#else
#define FIBERS_TEST_NEEDS_SIGNALS_AT_ONCE static_cast<void>(0)
#endif

// Function of the compiler's runtime: returns the unwind information for an instruction, or null.
struct bases_of_unwind_information {
  void* text;
  void* data;
  void* function;
};
extern "C" void const* _Unwind_Find_FDE(void*, bases_of_unwind_information*);

namespace {

#if defined(__x86_64__)
// Enables or disables a SIGTRAP after each instruction.
[[gnu::always_inline]] inline void single_step(bool on) {
  asm volatile("" : : "r"(__builtin_frame_address(0)));  // so that these instructions, too, lead to the callers
  if (on) {
    asm volatile("leaq -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; leaq 128(%%rsp), %%rsp" ::
                     : "memory", "cc");
  } else {
    asm volatile("leaq -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; leaq 128(%%rsp), %%rsp" ::
                     : "memory", "cc");
  }
}
#else
void single_step(bool) {}
#endif

// Frames that a walk must reach. They are called by pointers, so that the compiler neither inlines nor copies them.
void yields_here(int times, bool stepped) {
  if (stepped) single_step(true);
  for (int i = 0; i < times; ++i) fibers::this_task::yield();
  if (stepped) single_step(false);
}
void (*volatile yields)(int times, bool stepped) = &yields_here;

void runs_here(void (*body)()) {
  fibers::run([body] { body(); });
  asm volatile("");  // prevents a tail call
}
void (*volatile runs)(void (*body)()) = &runs_here;

template <class F>
std::uintptr_t address_of(F* function) {
  return reinterpret_cast<std::uintptr_t>(function);
}

// The observations of a signal handler.
volatile long walks = 0, whole = 0, without_information = 0, lost = 0;
volatile std::uintptr_t first_lost = 0;

struct walk {
  int depth = 0;
  std::uintptr_t interrupted = 0;
  bool whole = false;

  static _Unwind_Reason_Code step(_Unwind_Context* frame, void* self) {
    auto& me = *static_cast<walk*>(self);
    auto const function = _Unwind_GetRegionStart(frame);
    me.whole |= function == address_of(&yields_here) || function == address_of(&runs_here);
    return ++me.depth > 200 ? _URC_END_OF_STACK : _URC_NO_REASON;
  }
};

walk walk_stack() {
  walk w;
  _Unwind_Backtrace(&walk::step, &w);
  walks = walks + 1;
  return w;
}

void handle(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

#if defined(__x86_64__)
namespace {

void check_step(int, siginfo_t*, void* state) {
  auto const at = static_cast<ucontext_t*>(state)->uc_mcontext.gregs[REG_RIP];
  bases_of_unwind_information bases{};
  bool const covered = _Unwind_Find_FDE(reinterpret_cast<void*>(at), &bases) != nullptr;
  if (walk_stack().whole) {
    whole = whole + 1;
  } else if (!covered) {  // in Boost.Context's jump, where the walk ends
    without_information = without_information + 1;
  } else {
    lost = lost + 1;
    if (first_lost == 0) first_lost = static_cast<std::uintptr_t>(at);
  }
}

}  // namespace

TEST_CASE("context: unwind information leads to the callers at every instruction of a switch that has it") {
  FIBERS_TEST_NEEDS_SIGNALS_AT_ONCE;
  auto const end = in_child([] {
    handle(SIGTRAP, check_step);
    runs([] {
      auto other = fibers::spawn([] { yields(400, false); });
      yields(200, false);  // resolves lazily bound symbols
      yields(100, true);   // covers more than a turn of the loop
      other.get();
    });
    auto const text =
        "lost at " + std::to_string(first_lost) + ", " + std::to_string(lost) + " of " + std::to_string(walks) + "\n";
    if (lost != 0) [[maybe_unused]]
      auto const ignored = ::write(STDERR_FILENO, text.data(), text.size());
    if (whole < 5000 || lost != 0) ::_exit(1);
  });
  CHECK(end.with(0));
  CHECK(end.text == "");
}
#endif

TEST_CASE("context: a profiler's stack walks survive switches, beginnings, ends and exceptions") {
  FIBERS_TEST_NEEDS_SIGNALS_AT_ONCE;
  auto const end = in_child([] {
    handle(SIGALRM, [](int, siginfo_t*, void*) { walk_stack(); });
    itimerval const often{{0, 50}, {0, 50}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    runs([] {
      auto const time_is_up = [end = std::chrono::steady_clock::now() + 2s] {
        return std::chrono::steady_clock::now() >= end;
      };
      auto switches = fibers::spawn([&] {
        while (!time_is_up()) yields(100, false);
      });
      auto throws = fibers::spawn([&] {
        while (!time_is_up()) {
          try {
            throw 1;
          } catch (int) {
            yields(1, false);
          }
        }
      });
      while (!time_is_up()) fibers::spawn([] {}).get();
      switches.get();
      throws.get();
    });
    if (walks < 100) ::_exit(1);
  });
  CHECK(end.with(0));
}
