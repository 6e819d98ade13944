// SPDX-License-Identifier: BSL-1.0

// The loop and the memory of stacks: when there is none, and when there is too much.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fibers/detail/parts/context.hpp>
#include <fibers/exception_group.hpp>
#include <fibers/gather.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fstream>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "child.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::clock_kind;
using fibers::testing::in_child;

namespace {

struct memory_use {  // in bytes
  std::size_t address_space = 0;
  std::size_t resident = 0;
};

memory_use measure() {
  auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  memory_use pages;
  std::ifstream("/proc/self/statm") >> pages.address_space >> pages.resident;
  return {pages.address_space * page, pages.resident * page};
}

// While it exists, the process may use only this much more address space.
class address_space_limit {
 public:
  explicit address_space_limit(std::size_t more) {
    ::getrlimit(RLIMIT_AS, &before_);
    auto limit = before_;
    limit.rlim_cur = measure().address_space + more;
    ::setrlimit(RLIMIT_AS, &limit);
  }
  ~address_space_limit() { ::setrlimit(RLIMIT_AS, &before_); }
  address_space_limit(address_space_limit const&) = delete;
  address_space_limit& operator=(address_space_limit const&) = delete;

 private:
  rlimit before_{};
};

constexpr std::size_t kibibyte = 1024, mebibyte = 1024 * kibibyte;

#if defined(FIBERS_ADDRESS_SANITIZER) || defined(FIBERS_THREAD_SANITIZER) || defined(FIBERS_VALGRIND)
#define FIBERS_TEST_NEEDS_ITS_ADDRESS_SPACE SKIP("the tool needs address space for itself")
#else
#define FIBERS_TEST_NEEDS_ITS_ADDRESS_SPACE static_cast<void>(0)
#endif

// clang++ removes a call that only writes to its own volatile array, unless the array's address escapes.
[[gnu::noinline]] void touch_40_kib() {
  char buffer[40 * kibibyte];
  for (std::size_t i = 0; i < sizeof buffer; i += kibibyte) buffer[i] = 1;
  asm volatile("" : : "r"(buffer) : "memory");
}

}  // namespace

TEST_CASE("scheduler: no memory for a stack fails the task that needs it, and nothing else") {
  FIBERS_TEST_NEEDS_ITS_ADDRESS_SPACE;
  auto const end = in_child([] {
    constexpr std::size_t count = 200;
    std::size_t failed = 0, slept = 0, later = 0;
    fibers::run({.clock = clock_kind::virtual_time, .stack_size = 16 * mebibyte}, [&] {
      std::vector<fibers::task<void>> tasks;
      std::optional<address_space_limit> limit(1024 * mebibyte);
      for (std::size_t i = 0; i < count; ++i) {
        tasks.push_back(fibers::spawn([&] {
          fibers::sleep_for(1s);
          ++slept;
        }));
      }
      for (auto& task : tasks) {
        try {
          task.get();
        } catch (std::bad_alloc const&) {
          ++failed;
        }
      }
      limit.reset();
      tasks.clear();
      for (std::size_t i = 0; i < count; ++i) {
        tasks.push_back(fibers::spawn([&] {
          fibers::sleep_for(1s);
          ++later;
        }));
      }
      for (auto& task : tasks) task.get();
    });
    if (failed == 0 || slept == 0 || failed + slept != count || later != count) ::_exit(1);
  });
  CHECK(end.with(0));
  CHECK(end.text.empty());
}

TEST_CASE("scheduler: no memory for main's stack is thrown by run()") {
  FIBERS_TEST_NEEDS_ITS_ADDRESS_SPACE;
  auto const end = in_child([] {
    address_space_limit const limit(64 * mebibyte);
    try {
      fibers::run({.stack_size = 1024 * mebibyte}, [] {});
    } catch (std::bad_alloc const&) {
      ::_exit(7);
    }
  });
  CHECK(end.with(7));
}

TEST_CASE("scheduler: each of thousands of tasks without a stack fails with bad_alloc, whose text says what to do") {
  FIBERS_TEST_NEEDS_ITS_ADDRESS_SPACE;
  std::size_t const stack_size = GENERATE(16 * kibibyte, 1024 * kibibyte);
  // With the smallest limit even small blocks fail: then spawn() throws, too.
  std::size_t const more = GENERATE(0u, 100u, 300u, 600u, 1000u, 2000u, 3000u, 5000u, 10'000u, 33'000u, 100'000u);
  auto const end = in_child([=] {
    std::size_t failed = 0, slept = 0;
    fibers::run({.clock = clock_kind::virtual_time, .stack_size = stack_size}, [&] {
      std::vector<fibers::task<void>> tasks;
      tasks.reserve(5000);
      address_space_limit const limit(more * kibibyte);
      try {
        while (tasks.size() < tasks.capacity()) {
          tasks.push_back(fibers::spawn([&] {
            fibers::sleep_for(1s);
            ++slept;
          }));
        }
      } catch (std::bad_alloc const&) {
      }
      for (auto& task : tasks) {
        try {
          task.get();
        } catch (std::bad_alloc const& error) {
          if (std::strstr(error.what(), "run_options::stack_size") != nullptr) ++failed;
        }
      }
      if (failed + slept != tasks.size()) ::_exit(1);
    });
  });
  CHECK(end.with(0));
  CHECK(end.text.empty());
}

TEST_CASE("scheduler: the unfetched errors of thousands of tasks without a stack are reported, with the advice") {
  FIBERS_TEST_NEEDS_ITS_ADDRESS_SPACE;
  auto const end = in_child([] {
    std::size_t reported = 0;
    auto const count = [&](std::string const&, std::exception_ptr const& error) {
      try {
        std::rethrow_exception(error);
      } catch (std::bad_alloc const& e) {
        if (std::strstr(e.what(), "run_options::stack_size") != nullptr) ++reported;
      }
    };
    fibers::run({.clock = clock_kind::virtual_time, .stack_size = 16 * mebibyte, .on_unhandled = count}, [] {
      std::vector<fibers::task<void>> tasks;
      tasks.reserve(5000);
      address_space_limit const limit(33 * mebibyte);
      while (tasks.size() < tasks.capacity()) tasks.push_back(fibers::spawn([] { fibers::sleep_for(1s); }));
      for (auto& task : tasks) task.wait();
    });
    if (reported < 4900) ::_exit(1);
  });
  CHECK(end.with(0));
  CHECK(end.text.empty());
}

TEST_CASE("scheduler: a group whose children have no stacks fails with their bad_alloc") {
  FIBERS_TEST_NEEDS_ITS_ADDRESS_SPACE;
  auto const end = in_child([] {
    bool failed = false;
    fibers::run({.clock = clock_kind::virtual_time, .stack_size = 16 * mebibyte}, [&] {
      address_space_limit const limit(33 * mebibyte);
      try {
        fibers::with_task_group([](fibers::task_group& group) {
          for (int i = 0; i < 3000; ++i) group.spawn([] { fibers::sleep_for(1s); });
        });
      } catch (fibers::exception_group const& errors) {
        failed = errors.contains<std::bad_alloc>();
      }
    });
    if (!failed) ::_exit(1);
  });
  CHECK(end.with(0));
  CHECK(end.text.empty());
}

TEST_CASE("scheduler: stack memory is released after a peak, by a busy loop as by an idle one") {
#if defined(FIBERS_ADDRESS_SANITIZER) || defined(FIBERS_THREAD_SANITIZER) || defined(FIBERS_VALGRIND)
  SKIP("the tool needs memory for itself, and keeps what is on stacks elsewhere");
#endif
  enum class then { busy, busy_in_virtual_time, idle };
  auto const what = GENERATE(then::busy, then::busy_in_virtual_time, then::idle);
  constexpr std::size_t count = 1000;
  std::size_t peak = 0, later = 0;
  auto const clock = what == then::busy_in_virtual_time ? clock_kind::virtual_time : clock_kind::steady;
  fibers::run({.clock = clock}, [&] {
    {
      std::vector<fibers::task<void>> tasks;
      for (std::size_t i = 0; i < count; ++i) {
        tasks.push_back(fibers::spawn([] {
          touch_40_kib();
          fibers::this_task::yield();
        }));
      }
      for (auto& task : tasks) task.get();
    }
    peak = measure().resident;
    auto const give_up = std::chrono::steady_clock::now() + 30s;
    do {
      if (what == then::idle) {
        fibers::sleep_for(10ms);
      } else {
        for (int i = 0; i < 1000; ++i) fibers::this_task::yield();
      }
      later = measure().resident;
    } while (later + count * 40 * kibibyte / 2 > peak && std::chrono::steady_clock::now() < give_up);
  });
  CHECK(later + count * 40 * kibibyte / 2 <= peak);
}
