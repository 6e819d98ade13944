// SPDX-License-Identifier: BSL-1.0
#include "../../fibers/detail/parts/stack_pool.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBERS_TEST_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define FIBERS_TEST_ADDRESS_SANITIZER
#endif
#ifdef FIBERS_TEST_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif
#ifdef FIBERS_VALGRIND
#include <valgrind/memcheck.h>
#endif

using fibers::detail::guard_kind;
using fibers::detail::stack;
using fibers::detail::stack_pool;
using fibers::detail::trim_left;

namespace {

constexpr std::size_t kibibyte = 1024;
auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
constexpr std::size_t guard = 64 * kibibyte;

// Makes the kernel write there, so that finding a guard causes no fault.
bool writable(std::byte* address) { return ::uname(reinterpret_cast<utsname*>(address)) == 0 || errno != EFAULT; }

bool mapped(std::byte* page_start) {
  unsigned char resident = 0;
  return ::mincore(page_start, page, &resident) == 0;
}

bool resident(std::byte* page_start) {
  unsigned char answer = 0;
  return ::mincore(page_start, page, &answer) == 0 && (answer & 1) != 0;
}

bool has_memory(stack s) {
  for (auto* at = s.bottom; at != s.top; at += page) {
    if (resident(at)) return true;
  }
  return false;
}

std::vector<stack> allocate(stack_pool& pool, std::size_t count) {
  std::vector<stack> stacks(count);
  std::generate(stacks.begin(), stacks.end(), [&] { return pool.allocate(); });
  return stacks;
}

std::size_t address_space() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * page;
}

// Returns `count` idle stacks, each of which was used.
std::vector<stack> used_and_released(stack_pool& pool, std::size_t count) {
  auto stacks = allocate(pool, count);
  for (auto s : stacks) s.top[-1] = s.bottom[0] = std::byte{1};
  for (auto s : stacks) pool.release(s);
  return stacks;
}

std::size_t with_memory(std::vector<stack> const& stacks) {
  return static_cast<std::size_t>(std::count_if(stacks.begin(), stacks.end(), has_memory));
}

// Performs a whole round. Returns false if nothing is left for later rounds.
bool trim(stack_pool& pool) {
  pool.begin_trim();
  return pool.trim(std::chrono::steady_clock::time_point::max()) != trim_left::nothing;
}

std::vector<guard_kind> kinds() {
  std::vector<guard_kind> all{guard_kind::mapping};
  if (stack_pool(16 * kibibyte).guards() == guard_kind::light) all.push_back(guard_kind::light);
  return all;
}

}  // namespace

TEST_CASE("stack_pool: a size is rounded up to whole pages") {
  CHECK(stack_pool(16 * kibibyte).stack_size() == std::max(16 * kibibyte, page));
  CHECK(stack_pool(256 * kibibyte + 1).stack_size() == 256 * kibibyte + page);
  stack_pool pool(100'000);
  auto const s = pool.allocate();
  CHECK(static_cast<std::size_t>(s.top - s.bottom) == pool.stack_size());
  CHECK(reinterpret_cast<std::uintptr_t>(s.top) % page == 0);
  pool.release(s);
}

TEST_CASE("stack_pool: an excessive size is refused with advice") {
  for (std::size_t const size : {std::size_t{0}, 16 * kibibyte - 1, 1024 * 1024 * kibibyte + 1, SIZE_MAX}) {
    CHECK_THROWS_AS(stack_pool(size), std::invalid_argument);
  }
  try {
    stack_pool pool(4096);
    FAIL("accepted");
  } catch (std::invalid_argument const& error) {
    CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("run_options::stack_size is 4096 bytes"));
  }
}

TEST_CASE("stack_pool: the stack released last is reused first") {
  stack_pool pool(16 * kibibyte);
  auto const stacks = allocate(pool, 3);
  for (auto const i : {1u, 2u, 0u}) pool.release(stacks[i]);
  for (auto const i : {0u, 2u, 1u}) CHECK(pool.allocate().bottom == stacks[i].bottom);
  for (auto const s : stacks) pool.release(s);
}

TEST_CASE("stack_pool: counts the stacks in use and the idle ones") {
  stack_pool pool(16 * kibibyte);
  CHECK(pool.in_use() == 0);
  auto const stacks = allocate(pool, 5);
  CHECK(pool.in_use() == 5);
  CHECK(pool.idle() == 0);
  pool.release(stacks[0]);
  CHECK(pool.in_use() == 4);
  CHECK(pool.idle() == 1);
  for (auto const i : {1u, 2u, 3u, 4u}) pool.release(stacks[i]);
  CHECK(pool.in_use() == 0);
  CHECK(pool.idle() == 5);
}

TEST_CASE("stack_pool: all of a stack is writable, and below it is a guard of 64 KiB") {
  auto const kind = GENERATE(from_range(kinds()));
  stack_pool pool(256 * kibibyte, kind);
  REQUIRE(pool.guards() == kind);
  auto const stacks = allocate(pool, 130);  // three slabs
  std::set<std::byte*> bottoms;
  std::size_t unguarded = 0;
  for (auto const s : stacks) {
    std::memset(s.bottom, 1, static_cast<std::size_t>(s.top - s.bottom));
    bottoms.insert(s.bottom);
    unguarded += writable(s.bottom - 1) || !writable(s.bottom);
    for (std::size_t below = page; below <= guard; below += page) unguarded += writable(s.bottom - below);
  }
  CHECK(unguarded == 0);
  CHECK(bottoms.size() == stacks.size());
  for (auto const s : stacks) pool.release(s);
}

TEST_CASE("stack_pool: each large stack has a slab of its own") {
  stack_pool pool(64 * 1024 * kibibyte);
  for (auto const s : allocate(pool, 3)) {
    s.bottom[0] = s.top[-1] = std::byte{1};
    CHECK_FALSE(writable(s.bottom - 1));
    pool.release(s);
  }
}

TEST_CASE("stack_pool: memory is used only where a stack is touched") {
  auto const kind = GENERATE(from_range(kinds()));
  stack_pool pool(64 * kibibyte, kind);
  auto const stacks = allocate(pool, 100);
  CHECK(with_memory(stacks) == 0);
  stacks[7].top[-1] = std::byte{1};
  CHECK(with_memory(stacks) == 1);
  CHECK(resident(stacks[7].top - page));
  CHECK_FALSE(resident(stacks[7].bottom));
  for (auto const s : stacks) pool.release(s);
  CHECK(with_memory(stacks) == 1);  // the pool keeps no lists there
}

TEST_CASE("stack_pool: guards do not run out of mappings") {
  stack_pool pool(16 * kibibyte);
  if (pool.guards() != guard_kind::light) SKIP("this kernel has no MADV_GUARD_INSTALL");
  std::size_t limit = 65'530;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  if (limit > 200'000) SKIP("this system allows very many mappings");
  auto const stacks = allocate(pool, limit + 1000);
  CHECK(pool.in_use() == stacks.size());
  CHECK(std::none_of(stacks.begin(), stacks.end(), [](stack s) { return writable(s.bottom - 1); }));
  for (auto const s : stacks) pool.release(s);
}

TEST_CASE("stack_pool: a million guarded stacks of 256 KiB fit", "[.][million]") {
  stack_pool pool(256 * kibibyte);
  if (pool.guards() != guard_kind::light) SKIP("this kernel has no MADV_GUARD_INSTALL");
  auto const stacks = allocate(pool, 1'000'000);
  CHECK(std::none_of(stacks.begin(), stacks.end(), [](stack s) { return writable(s.bottom - 1); }));
  for (auto const s : stacks) pool.release(s);
}

TEST_CASE("stack_pool: a failed allocation changes nothing") {
  stack_pool pool(64 * 1024 * kibibyte);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  auto low = before;
  low.rlim_cur = address_space() + 96 * 1024 * kibibyte;  // room for one stack
  REQUIRE(::setrlimit(RLIMIT_AS, &low) == 0);
  auto const first = pool.allocate();
  std::string thrown;
  try {
    pool.allocate();
  } catch (std::bad_alloc const& error) {
    thrown = error.what();
  }
  REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);

  CHECK_THAT(thrown, Catch::Matchers::ContainsSubstring("run_options::stack_size"));
  try {
    std::rethrow_exception(pool.exhausted());
  } catch (std::bad_alloc const& error) {
    CHECK(error.what() == thrown);
  }
  CHECK(pool.in_use() == 1);
  CHECK(pool.idle() == 0);
  auto const second = pool.allocate();
  CHECK(second.bottom != first.bottom);
  pool.release(first);
  pool.release(second);
}

TEST_CASE("stack_pool: trim releases memory that was idle since the last trim, half at a time") {
  auto const kind = GENERATE(from_range(kinds()));
  stack_pool pool(64 * kibibyte, kind);
  auto const stacks = used_and_released(pool, 8);
  CHECK(trim(pool));  // the stacks were in use a moment ago
  CHECK(with_memory(stacks) == 8);
  for (auto const left : {4u, 2u, 1u}) {
    CHECK(trim(pool));
    CHECK(with_memory(stacks) == left);
  }
  CHECK_FALSE(trim(pool));
  CHECK(with_memory(stacks) == 0);
  CHECK(pool.idle() == 8);

  auto const again = allocate(pool, 8);
  std::size_t unguarded = 0;
  for (auto const s : again) {
    std::memset(s.bottom, 1, pool.stack_size());
    unguarded += writable(s.bottom - 1);
    pool.release(s);
  }
  CHECK(unguarded == 0);
}

TEST_CASE("stack_pool: trim skips stacks that were in use since the last trim") {
  stack_pool pool(64 * kibibyte);
  auto const stacks = used_and_released(pool, 8);
  trim(pool);
  for (int round = 0; round < 5; ++round) {
    for (auto const s : allocate(pool, 6)) pool.release(s);
    trim(pool);
  }
  CHECK(with_memory(stacks) == 6);
  CHECK_FALSE(has_memory(stacks[0]));  // the two released first were at the bottom all the time
  CHECK_FALSE(has_memory(stacks[1]));
}

TEST_CASE("stack_pool: trim does not release twice, unless the stack was used again") {
  stack_pool pool(64 * kibibyte);
  auto const stacks = used_and_released(pool, 2);
  while (trim(pool)) {
  }
  REQUIRE(with_memory(stacks) == 0);
  // The kernel writes into an idle stack, which no sanitizer reports; Valgrind checks the kernel, too.
#ifdef FIBERS_VALGRIND
  VALGRIND_MAKE_MEM_UNDEFINED(stacks[0].bottom, 1);
#endif
  ::syscall(SYS_getrandom, stacks[0].bottom, 1, 0);
  REQUIRE(has_memory(stacks[0]));
  trim(pool);
  CHECK(has_memory(stacks[0]));

  auto const again = allocate(pool, 2);
  for (auto const s : {again[1], again[0]}) pool.release(s);
  while (trim(pool)) {
  }
  CHECK(with_memory(stacks) == 0);
}

TEST_CASE("stack_pool: trim stops when its time is up, and resumes where it stopped") {
  stack_pool pool(64 * kibibyte);
  auto const stacks = used_and_released(pool, 8);
  pool.begin_trim();
  pool.begin_trim();
  CHECK(pool.trim(std::chrono::steady_clock::time_point::min()) == trim_left::now);
  CHECK(with_memory(stacks) == 8);
  CHECK(pool.trim(std::chrono::steady_clock::time_point::max()) == trim_left::next_round);
  CHECK(with_memory(stacks) == 4);
}

TEST_CASE("stack_pool: trim skips stacks that were chosen and then used") {
  stack_pool pool(64 * kibibyte);
  auto const stacks = used_and_released(pool, 8);
  pool.begin_trim();
  pool.begin_trim();
  for (auto const s : allocate(pool, 6)) pool.release(s);
  CHECK(pool.trim(std::chrono::steady_clock::time_point::max()) == trim_left::nothing);
  CHECK(with_memory(stacks) == 6);
}

TEST_CASE("stack_pool: trim without idle stacks does nothing") {
  stack_pool pool(64 * kibibyte);
  CHECK_FALSE(trim(pool));
  auto const s = pool.allocate();
  s.bottom[0] = std::byte{1};
  CHECK_FALSE(trim(pool));
  CHECK_FALSE(trim(pool));
  CHECK(has_memory(s));
  pool.release(s);
}

TEST_CASE("stack_pool: is_guard distinguishes guards from stacks and other memory") {
  stack_pool pool(256 * kibibyte);
  stack_pool other(256 * kibibyte);
  auto const stacks = allocate(pool, 70);  // two slabs
  for (auto const s : stacks) {
    bool const right = pool.is_guard(s.bottom - 1) && pool.is_guard(s.bottom - guard / 2) &&
                       pool.is_guard(s.bottom - guard) && !pool.is_guard(s.bottom - guard - 1) &&
                       !pool.is_guard(s.bottom) && !pool.is_guard(s.top - 1) && !other.is_guard(s.bottom - 1);
    CHECK(right);
  }
  CHECK_FALSE(pool.is_guard(nullptr));
  CHECK_FALSE(pool.is_guard(&pool));
  for (auto const s : stacks) pool.release(s);
}

TEST_CASE("stack_pool: the destructor unmaps everything") {
  auto const kind = GENERATE(from_range(kinds()));
  std::size_t left = 0;
  std::vector<stack> stacks;
  {
    stack_pool pool(256 * kibibyte, kind);
    stacks = used_and_released(pool, 130);
  }
  for (auto const s : stacks) left += mapped(s.bottom);
  CHECK(left == 0);
}

TEST_CASE("stack_pool: an abandoned pool leaves slabs mapped that hold stacks in use") {
  std::vector<stack> stacks;
  {
    stack_pool pool(256 * kibibyte);
    stacks = allocate(pool, 130);
    for (auto const s : stacks) {
      if (s.bottom != stacks[65].bottom) pool.release(s);
    }
    pool.abandon();
  }
  auto const kept = stacks[65];
  kept.bottom[0] = kept.top[-1] = std::byte{1};
  CHECK_FALSE(writable(kept.bottom - 1));
  CHECK(mapped(stacks[64].bottom));  // it is in the same slab
  CHECK_FALSE(mapped(stacks[0].bottom));
  CHECK_FALSE(mapped(stacks[129].bottom));
}

#ifdef FIBERS_TEST_ADDRESS_SANITIZER
TEST_CASE("stack_pool: the address sanitizer detects the use of an idle stack, and accepts a reused one") {
  stack_pool pool(64 * kibibyte);
  auto const s = pool.allocate();
  __asan_poison_memory_region(s.top - 64, 32);  // a frame that never returned
  pool.release(s);
  CHECK(__asan_region_is_poisoned(s.bottom, 1) != nullptr);
  CHECK(pool.allocate().bottom == s.bottom);
  CHECK(__asan_region_is_poisoned(s.bottom, pool.stack_size()) == nullptr);
  pool.release(s);
}
#endif
