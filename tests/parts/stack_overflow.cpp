// SPDX-License-Identifier: BSL-1.0
#include "../../fibers/detail/parts/stack_overflow.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/fiber.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "catch.hpp"
#include "child.hpp"

using Catch::Matchers::ContainsSubstring;
using fibers::detail::guard_kind;
using fibers::detail::overflow_watch;
using fibers::detail::stack;
using fibers::detail::stack_pool;
using fibers::testing::in_child;

namespace {

constexpr std::size_t stack_size = 256 * 1024;

void parse(char* buffer, std::size_t size) noexcept {
  std::strncpy(buffer, "task 'parse' (spawned at file.cpp:12)", size);
}

struct no_deallocation {
  void deallocate(boost::context::stack_context&) noexcept {}
};

template <class F>
void run_on(stack memory, F function) {
  boost::context::stack_context context;
  context.sp = memory.top;
  context.size = static_cast<std::size_t>(memory.top - memory.bottom);
  boost::context::fiber fiber{std::allocator_arg, boost::context::preallocated{context.sp, context.size, context},
                              no_deallocation{}, [&](boost::context::fiber&& back) {
                                function();
                                return std::move(back);
                              }};
  std::move(fiber).resume();
}

[[gnu::noinline]] int recurse(int depth) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? frame[0] : recurse(depth - 1) + frame[0];
}

void overflow() { std::printf("%d\n", recurse(1'000'000)); }

void write_to(std::byte* address) { *static_cast<std::byte volatile*>(address) = std::byte{1}; }

std::byte* forbidden_page() {
  auto const size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return static_cast<std::byte*>(::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

void exit_with_7(int) { ::_exit(7); }
void exit_with_8(int, siginfo_t*, void*) { ::_exit(8); }

using handler = void (*)(int);
handler current_handler(int signal) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler;
}

bool has_alternate_stack() {
  stack_t now{};
  ::sigaltstack(nullptr, &now);
  return (now.ss_flags & SS_DISABLE) == 0;
}

}  // namespace

TEST_CASE("stack_overflow: names the task, its call site and its stack's size, and aborts") {
  auto const kind = GENERATE(guard_kind::automatic, guard_kind::mapping);
  auto const end = in_child([kind] {
    stack_pool pool(stack_size, kind);
    overflow_watch watch(pool, parse);
    pool.allocate();
    run_on(pool.allocate(), overflow);
  });
  CHECK(end.by(SIGABRT));
  CHECK_THAT(end.text, ContainsSubstring("fibers: task 'parse' (spawned at file.cpp:12) overflowed its 256 KiB stack; "
                                         "raise run_options::stack_size"));
}

TEST_CASE("stack_overflow: a frame larger than a page is reported wherever it lands in the guard") {
  auto const kind = GENERATE(guard_kind::automatic, guard_kind::mapping);
  std::size_t const below = GENERATE(1u, 4097u, 40'000u, 64u * 1024);
  auto const end = in_child([kind, below] {
    stack_pool pool(stack_size, kind);
    overflow_watch watch(pool, parse);
    pool.allocate();
    auto const memory = pool.allocate();
    run_on(memory, [&] { write_to(memory.bottom - below); });
  });
  CHECK(end.by(SIGABRT));
  CHECK_THAT(end.text, ContainsSubstring("task 'parse' (spawned at file.cpp:12) overflowed its 256 KiB stack"));
}

TEST_CASE("stack_overflow: is detected on every thread") {
  auto const end = in_child([] {
    std::thread([] {
      stack_pool pool(stack_size);
      overflow_watch watch(pool, nullptr);
      run_on(pool.allocate(), overflow);
    }).join();
  });
  CHECK(end.by(SIGABRT));
  CHECK_THAT(end.text, ContainsSubstring("fibers: a task overflowed its 256 KiB stack"));
}

TEST_CASE("stack_overflow: loops on one thread may end in any order") {
  bool const first_ends = GENERATE(true, false);
  auto const end = in_child([first_ends] {
    stack_pool pools[] = {stack_pool(stack_size), stack_pool(stack_size)};
    auto first = std::make_unique<overflow_watch>(pools[0], parse);
    auto second = std::make_unique<overflow_watch>(pools[1], parse);
    (first_ends ? first : second).reset();
    run_on(pools[first_ends ? 1 : 0].allocate(), overflow);
  });
  CHECK(end.by(SIGABRT));
  CHECK_THAT(end.text, ContainsSubstring("task 'parse'"));
}

TEST_CASE("stack_overflow: a fault that is no overflow does what it did before") {
  SECTION("by default") {
    auto const end = in_child([] {
      stack_pool pool(stack_size);
      overflow_watch watch(pool, parse);
      run_on(pool.allocate(), [] { write_to(forbidden_page()); });
    });
    CHECK(end.by(SIGSEGV));
    CHECK(end.text.empty());
  }
  SECTION("with a handler") {
    auto const end = in_child([] {
      ::signal(SIGSEGV, exit_with_7);
      stack_pool pool(stack_size);
      overflow_watch watch(pool, parse);
      write_to(forbidden_page());
    });
    CHECK(end.with(7));
  }
  SECTION("with a handler that wants to know more") {
    auto const end = in_child([] {
      struct sigaction action {};
      action.sa_sigaction = exit_with_8;
      action.sa_flags = SA_SIGINFO;
      ::sigaction(SIGSEGV, &action, nullptr);
      stack_pool pool(stack_size);
      overflow_watch watch(pool, parse);
      write_to(forbidden_page());
    });
    CHECK(end.with(8));
  }
  SECTION("in the guard of a pool nobody watches") {
    auto const end = in_child([] {
      stack_pool pool(stack_size);
      stack_pool unwatched(stack_size);
      overflow_watch watch(pool, parse);
      write_to(unwatched.allocate().bottom - 1);
    });
    CHECK(end.by(SIGSEGV));
  }
}

TEST_CASE("stack_overflow: a signal that was sent does what it did before") {
  int const signal = GENERATE(SIGSEGV, SIGBUS);
  CHECK(in_child([signal] {
          stack_pool pool(stack_size);
          overflow_watch watch(pool, parse);
          ::raise(signal);
        }).by(signal));
  CHECK(in_child([signal] {
          ::signal(signal, SIG_IGN);
          stack_pool pool(stack_size);
          overflow_watch watch(pool, parse);
          ::raise(signal);
        }).with(0));
}

TEST_CASE("stack_overflow: the last watch restores the handler and the signal stack it found") {
  auto const end = in_child([] {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
    ::signal(SIGSEGV, exit_with_7);
    stack_pool pool(stack_size);
    {
      overflow_watch first(pool, parse);
      { overflow_watch second(pool, parse); }
      if (current_handler(SIGSEGV) == exit_with_7 || !has_alternate_stack()) ::_exit(1);
    }
    if (current_handler(SIGSEGV) != exit_with_7) ::_exit(2);
    if (current_handler(SIGBUS) != SIG_DFL) ::_exit(3);
    if (has_alternate_stack()) ::_exit(4);
  });
  CHECK(end.with(0));
}

TEST_CASE("stack_overflow: a handler set later stays, and may continue to call ours") {
  auto const end = in_child([] {
    static struct sigaction ours;
    static int calls = 0;
    stack_pool pool(stack_size);
    {
      overflow_watch watch(pool, parse);
      struct sigaction action {};
      action.sa_sigaction = [](int number, siginfo_t* info, void* context) {
        if (++calls > 1) ::_exit(9);
        ours.sa_sigaction(number, info, context);
      };
      action.sa_flags = SA_SIGINFO | SA_ONSTACK;
      ::sigaction(SIGSEGV, &action, &ours);
    }
    overflow_watch watch(pool, parse);
    if (::fork() == 0) run_on(pool.allocate(), overflow);
    int status = 0;
    ::wait(&status);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) ::_exit(1);
    write_to(forbidden_page());  // forwarded to the default action, and not in a cycle
  });
  CHECK(end.by(SIGSEGV));
  CHECK_THAT(end.text, ContainsSubstring("task 'parse'"));
}

TEST_CASE("stack_overflow: a handler that repairs the fault still does so") {
  auto const end = in_child([] {
    static auto* const page = forbidden_page();
    ::signal(SIGSEGV, [](int) { ::mprotect(page, 1, PROT_READ | PROT_WRITE); });
    stack_pool pool(stack_size);
    overflow_watch watch(pool, parse);
    write_to(page);
    run_on(pool.allocate(), overflow);
  });
  CHECK(end.by(SIGABRT));
  CHECK_THAT(end.text, ContainsSubstring("task 'parse'"));
}
