// SPDX-License-Identifier: BSL-1.0

#include <cstdint>
#include <fibers/detail/parts/memory.hpp>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using fibers::detail::allocator;
using fibers::detail::from_memory;
using fibers::detail::memory_watch;

namespace {

struct counting final : memory_watch {
  void taking() override {
    if (++count == fails_at) throw std::bad_alloc();
  }
  int count = 0, fails_at = 0;
};

struct object : from_memory {
  int value = 0;
};
struct alignas(128) aligned_object : from_memory {
  int value = 0;
};

}  // namespace

TEST_CASE("memory: a watch sees allocations, and what was not released") {
  counting watch;
  auto one = std::make_unique<object>();
  auto other = std::make_unique<aligned_object>();
  CHECK(reinterpret_cast<std::uintptr_t>(other.get()) % 128 == 0);
  std::vector<int, allocator<int>> numbers(10);
  CHECK(watch.count == 3);
  CHECK(watch.outstanding() == 3);
  one.reset();
  other.reset();
  std::vector<int, allocator<int>>().swap(numbers);
  CHECK(watch.outstanding() == 0);
}

TEST_CASE("memory: an exception of a watch reaches the allocating code, and nothing was allocated") {
  counting watch;
  watch.fails_at = 2;
  auto const one = std::make_unique<object>();
  CHECK_THROWS_AS(std::make_unique<object>(), std::bad_alloc);
  if (!fibers::testing::sanitized) {  // sanitizers end the program
    CHECK_THROWS_AS((std::vector<int, allocator<int>>(static_cast<std::size_t>(-1) / 8)), std::exception);
  }
  CHECK(watch.outstanding() == 1);
}

TEST_CASE("memory: of nested watches the inner one is asked, on its own thread only; remaining memory counts for all") {
  counting outer;
  std::unique_ptr<object> kept;
  {
    counting inner;
    kept = std::make_unique<object>();
    CHECK(inner.count == 1);
    CHECK(outer.count == 0);
    std::thread([&kept] { kept = std::make_unique<object>(); }).join();
    CHECK(inner.count == 1);
    CHECK(inner.outstanding() == 1);
  }
  CHECK(outer.outstanding() == 1);
  kept.reset();
  CHECK(outer.outstanding() == 0);
  kept = std::make_unique<object>();
  CHECK(outer.count == 1);
}
