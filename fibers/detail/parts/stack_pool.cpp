// SPDX-License-Identifier: BSL-1.0
#include "stack_pool.hpp"

#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <boost/assert.hpp>
#include <cerrno>
#include <cstdint>
#include <fibers/detail/parts/context.hpp>  // which sanitizer
#include <fibers/detail/parts/memory.hpp>
#include <new>
#include <stdexcept>
#include <string>

#ifdef FIBERS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif
#ifdef FIBERS_VALGRIND
#include <valgrind/memcheck.h>
#endif

#ifndef MAP_STACK
#define MAP_STACK 0
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

namespace fibers::detail {
namespace {

constexpr std::size_t kibibyte = 1024;
constexpr std::size_t smallest_stack = 16 * kibibyte;
constexpr std::size_t largest_stack = 1024 * 1024 * kibibyte;
constexpr std::size_t usual_slab = 16 * 1024 * kibibyte;
constexpr std::size_t smallest_guard = 64 * kibibyte;
constexpr std::size_t most_chosen = 4096;  // in a round of trim(), so that sorting them takes less than a slice
constexpr std::size_t most_at_once = 64;
constexpr int advice_guard_install = 102;  // MADV_GUARD_INSTALL, which older headers lack

struct no_stack : std::bad_alloc {
  char const* what() const noexcept override {
    return "fibers: the system has no more memory or mappings for a stack; run fewer tasks at a time, lower "
           "run_options::stack_size, or raise the limits (ulimit -v, vm.max_map_count)";
  }
};

std::size_t page_size() noexcept {
  static auto const size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t whole_pages(std::size_t size) noexcept { return (size + page_size() - 1) / page_size() * page_size(); }

std::size_t guard_size() noexcept { return whole_pages(smallest_guard); }

std::size_t checked(std::size_t size) {
  if (size < smallest_stack || size > largest_stack) {
    throw std::invalid_argument("fibers: run_options::stack_size is " + std::to_string(size) +
                                " bytes; choose between 16 KiB and 1 GiB (it is address space: memory "
                                "is used only as a task touches it, so the default suits most)");
  }
  return whole_pages(size);
}

std::byte* map(std::size_t size) noexcept {
  auto* const memory =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

// Some emulators accept any advice without effect, so this makes the kernel write into a guarded page. (By uname(),
// since Valgrind itself reads the arguments of many other calls.)
bool light_guards_work() noexcept {
  auto* const page = map(page_size());
  if (page == nullptr) return false;
  auto const works = ::madvise(page, page_size(), advice_guard_install) == 0 &&
                     ::uname(reinterpret_cast<utsname*>(page)) != 0 && errno == EFAULT;
  ::munmap(page, page_size());
  return works;
}

guard_kind chosen(guard_kind kind) noexcept {
  if (kind != guard_kind::automatic) return kind;
  static auto const best = light_guards_work() ? guard_kind::light : guard_kind::mapping;
  return best;
}

// Tells memory checkers which stacks are in use. A reused stack must not keep the marks of frames from which its last
// fiber never returned.
void tell_used([[maybe_unused]] std::byte* bottom, [[maybe_unused]] std::size_t size) noexcept {
#ifdef FIBERS_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(bottom, size);
#endif
#ifdef FIBERS_VALGRIND
  VALGRIND_MAKE_MEM_UNDEFINED(bottom, size);
#endif
}

void tell_idle([[maybe_unused]] std::byte* bottom, [[maybe_unused]] std::size_t size) noexcept {
#ifdef FIBERS_ADDRESS_SANITIZER
  ASAN_POISON_MEMORY_REGION(bottom, size);
#endif
#ifdef FIBERS_VALGRIND
  VALGRIND_MAKE_MEM_NOACCESS(bottom, size);
#endif
}

}  // namespace

stack_pool::stack_pool(std::size_t stack_size, guard_kind guards)
    : stack_size_{checked(stack_size)},
      stacks_per_slab_{std::max<std::size_t>(usual_slab / stride(), 1)},
      guards_{chosen(guards)},
      exhausted_{std::make_exception_ptr(no_stack{})} {}

stack_pool::~stack_pool() {
  BOOST_ASSERT((abandoned_ || in_use() == 0) && "fibers still stand on these stacks");
#ifdef FIBERS_VALGRIND
  for (auto const id : valgrind_ids_) VALGRIND_STACK_DEREGISTER(id);
#endif
  std::sort(idle_.begin(), idle_.end());
  for (auto* const slab : slabs_) {
    auto* const cut_end = slab + slab_bytes() == fresh_end_ ? fresh_ : slab + slab_bytes();
    auto const idle =
        std::lower_bound(idle_.begin(), idle_.end(), cut_end) - std::lower_bound(idle_.begin(), idle_.end(), slab);
    if (slab + static_cast<std::size_t>(idle) * stride() != cut_end) continue;  // some are in use
    tell_used(slab, slab_bytes());
    ::munmap(slab, slab_bytes());
  }
}

stack stack_pool::allocate() {
  announce_allocation();
  if (idle_.empty()) cut_stack();
  auto* const bottom = idle_.back();
  idle_.pop_back();
  low_water_ = std::min(low_water_, idle_.size());
  tell_used(bottom, stack_size_);
  return {bottom, bottom + stack_size_};
}

void stack_pool::release(stack released) noexcept {
  BOOST_ASSERT(idle_.size() < cut_ && released.top == released.bottom + stack_size_);
  tell_idle(released.bottom, stack_size_);
  idle_.push_back(released.bottom);
}

void stack_pool::begin_trim() noexcept {
  given_back_ = std::min(given_back_, low_water_);
  chosen_ = given_back_ + std::min((low_water_ - given_back_ + 1) / 2, most_chosen);
  auto const at = [this](std::size_t index) { return idle_.begin() + static_cast<std::ptrdiff_t>(index); };
  std::sort(at(given_back_), at(chosen_));  // one call then releases neighbours together
  low_water_ = idle_.size();
}

trim_left stack_pool::trim(std::chrono::steady_clock::time_point until) noexcept {
  given_back_ = std::min(given_back_, low_water_);
  chosen_ = std::min(chosen_, low_water_);
  while (given_back_ < chosen_) {
    if (std::chrono::steady_clock::now() >= until) return trim_left::now;
    // One call for neighbours; the guards between them stay. On a virtual machine a call took 30 us, and each page
    // 0.7 us.
    auto const first = given_back_++;
    while (given_back_ < chosen_ && given_back_ - first < most_at_once &&
           idle_[given_back_] == idle_[given_back_ - 1] + stride()) {
      ++given_back_;
    }
    ::madvise(idle_[first], (given_back_ - first) * stride() - guard_size(), MADV_DONTNEED);
  }
  return given_back_ < low_water_ ? trim_left::next_round : trim_left::nothing;
}

bool stack_pool::is_guard(void const* address) const noexcept {
  auto const wanted = reinterpret_cast<std::uintptr_t>(address);
  return std::any_of(slabs_.begin(), slabs_.end(), [&](std::byte const* slab) {
    auto const offset = wanted - reinterpret_cast<std::uintptr_t>(slab);  // huge when below the slab
    return offset < slab_bytes() && offset % stride() < guard_size();
  });
}

std::size_t stack_pool::stride() const noexcept { return guard_size() + stack_size_; }

std::size_t stack_pool::slab_bytes() const noexcept { return stacks_per_slab_ * stride(); }

// Puts one more stack on the idle list.
void stack_pool::cut_stack() {
  if (fresh_ == fresh_end_) map_slab();
#ifdef FIBERS_VALGRIND
  valgrind_ids_.reserve(valgrind_ids_.size() + 1);
#endif
  // Locked memory refuses the light guard, but not the mapping.
  auto const guarded = (guards_ == guard_kind::light && ::madvise(fresh_, guard_size(), advice_guard_install) == 0) ||
                       ::mprotect(fresh_, guard_size(), PROT_NONE) == 0;
  if (!guarded) throw no_stack{};

  auto* const bottom = fresh_ + guard_size();
  fresh_ = bottom + stack_size_;
  ++cut_;
  idle_.push_back(bottom);
#ifdef FIBERS_VALGRIND
  valgrind_ids_.push_back(VALGRIND_STACK_REGISTER(bottom, fresh_));
#endif
}

void stack_pool::map_slab() {
  // Reserves first, in growing steps: nothing may throw once the slab is mapped.
  if (auto const stacks = cut_ + stacks_per_slab_; idle_.capacity() < stacks) {
    idle_.reserve(std::max(stacks, 2 * idle_.capacity()));
  }
  if (slabs_.size() == slabs_.capacity()) slabs_.reserve(2 * slabs_.size() + 1);
  auto* const slab = map(slab_bytes());
  if (slab == nullptr) throw no_stack{};
#ifdef MADV_NOHUGEPAGE
  ::madvise(slab, slab_bytes(), MADV_NOHUGEPAGE);  // a huge page would back eight stacks where one is used
#endif
  slabs_.push_back(slab);
  fresh_ = slab;
  fresh_end_ = slab + slab_bytes();
}

}  // namespace fibers::detail
