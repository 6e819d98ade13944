// SPDX-License-Identifier: BSL-1.0
#pragma once

// The allocator of stacks. A pool maps slabs of address space and cuts them into stacks:
//
//     slab  | guard  | stack ........ | guard  | stack ........ |  not cut yet  |
//             64 KiB   stack_size()                             ^ fresh_
//
// A stack grows down, so an overflow hits the stack's own guard and never a neighbour. A frame larger than the guard
// can step over it if only its far end is written: -fstack-clash-protection makes a large frame touch each of its pages
// in turn.
//
// A guard is address space without memory. A million stacks of 256 KiB with guards of 64 KiB instead of one page take
// 305 GiB of address space instead of 247 (of 128 TiB), and 641 bytes of page tables a stack instead of 521, beside the
// 4,096 of its first page. They take the same time to create. With guard_kind::mapping a guard costs two mappings, some
// 700 bytes in the kernel, whatever its size.
//
// Memory is committed on first touch, and only by fibers: the pool keeps its lists elsewhere, and a stack gets its
// guard when it is cut, not when its slab is mapped. Stacks are reused in LIFO order, since the stack released last is
// still in the cache.

#include <chrono>
#include <cstddef>
#include <exception>
#include <vector>

namespace fibers::detail {

struct stack {  // the usable memory is [bottom, top)
  std::byte* bottom;
  std::byte* top;
};

enum class guard_kind {
  automatic,  // light if the kernel supports it, otherwise mapping
  light,      // MADV_GUARD_INSTALL (Linux 6.13): costs no mapping, so their number has no limit
  mapping,    // mprotect: each guard splits a mapping, and Linux allows a process 65,530 of them
};

enum class trim_left {
  nothing,     // no later call gives memory back, unless a stack is released
  next_round,  // all chosen stacks were trimmed; a later round may choose more
  now,         // the time limit was reached
};

// A pool belongs to one loop: every call is made on the loop's own thread.
class stack_pool {
 public:
  // stack_size: usable bytes of each stack, rounded up to whole pages. Throws std::invalid_argument
  // below 16 KiB and above 1 GiB. Tests force a kind of guard; others let the pool choose.
  explicit stack_pool(std::size_t stack_size, guard_kind = guard_kind::automatic);

  // Unmaps all slabs. Precondition: no stack is in use, or abandon() was called.
  ~stack_pool();
  stack_pool(stack_pool const&) = delete;
  stack_pool& operator=(stack_pool const&) = delete;

  // The stack released last, or a new one. Its content is unspecified. Throws std::bad_alloc, without effect, when the
  // system has no more memory or mappings.
  stack allocate();

  // The std::bad_alloc that a task without a stack fails with; its what() advises. All tasks share one object: when
  // memory has run out, an exception for each would use up the C++ runtime's reserve for exceptions, and the next throw
  // would end the program.
  std::exception_ptr const& exhausted() const noexcept { return exhausted_; }

  // Precondition: no fiber runs on the stack. Under a sanitizer its memory is out of bounds from now on.
  void release(stack) noexcept;

  // Begins a round of trim(): chooses half of the stacks that have memory and were idle since the last round. The other
  // half stays warm for the next burst. Chooses at most some thousands, which takes well under a millisecond.
  void begin_trim() noexcept;

  // Gives memory, not address space, of the chosen stacks back to the system. Stops at `until` or a little later.
  trim_left trim(std::chrono::steady_clock::time_point until) noexcept;

  // The destructor leaves the slabs mapped that hold stacks in use: their fibers will never end.
  void abandon() noexcept { abandoned_ = true; }

  std::size_t stack_size() const noexcept { return stack_size_; }
  std::size_t in_use() const noexcept { return cut_ - idle_.size(); }
  std::size_t idle() const noexcept { return idle_.size(); }
  guard_kind guards() const noexcept { return guards_; }  // light or mapping

  // Returns true for every address in a guard. Async-signal-safe on the loop's thread.
  bool is_guard(void const* address) const noexcept;

 private:
  std::size_t stride() const noexcept;  // of stacks and their guards in a slab
  std::size_t slab_bytes() const noexcept;
  void cut_stack();
  void map_slab();

  std::size_t const stack_size_;
  std::size_t const stacks_per_slab_;
  guard_kind const guards_;
  std::exception_ptr const exhausted_;
  bool abandoned_ = false;

  std::vector<std::byte*> slabs_;
  std::byte* fresh_ = nullptr;  // where the next stack is cut from the newest slab
  std::byte* fresh_end_ = nullptr;
  std::size_t cut_ = 0;  // number of stacks, idle or in use

  // Bottoms of idle stacks, the one released last at the back; has capacity for all, so that release() never allocates.
  // Stacks before low_water_ were idle since the round began. Stacks before min(given_back_, low_water_) have no
  // memory; stacks before min(chosen_, low_water_) have none once the round is over.
  std::vector<std::byte*> idle_;
  std::size_t low_water_ = 0;
  std::size_t given_back_ = 0;
  std::size_t chosen_ = 0;

  std::vector<unsigned> valgrind_ids_;  // empty unless built for Valgrind
};

}  // namespace fibers::detail
