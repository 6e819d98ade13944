// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/memory.hpp>

namespace fibers::detail {

namespace {

constinit std::atomic<int> watches = 0;  // of all threads
constinit std::atomic<long> blocks = 0;  // taken less given back, while somebody watched
constinit thread_local memory_watch* watch = nullptr;

bool watched() noexcept { return watches.load(std::memory_order_relaxed) != 0; }

template <class... Alignment>
[[gnu::noinline, gnu::cold]] void* allocate_watched(std::size_t size, Alignment... alignment) {
  announce_allocation();
  auto* const block = ::operator new(size, alignment...);
  blocks.fetch_add(1, std::memory_order_relaxed);
  return block;
}

}  // namespace

memory_watch::memory_watch() noexcept : outer_(watch), before_(blocks.load(std::memory_order_relaxed)) {
  watch = this;
  watches.fetch_add(1, std::memory_order_relaxed);
}

memory_watch::~memory_watch() {
  watches.fetch_sub(1, std::memory_order_relaxed);
  watch = outer_;
}

long memory_watch::outstanding() const noexcept { return blocks.load(std::memory_order_relaxed) - before_; }

void announce_allocation() {
  if (watch != nullptr) [[unlikely]]
    watch->taking();
}

void* allocate(std::size_t size) {
  if (watched()) [[unlikely]]
    return allocate_watched(size);
  return ::operator new(size);
}

void* allocate(std::size_t size, std::align_val_t alignment) {
  if (watched()) [[unlikely]]
    return allocate_watched(size, alignment);
  return ::operator new(size, alignment);
}

void deallocate(void* block) noexcept {
  if (watched()) [[unlikely]]
    blocks.fetch_sub(1, std::memory_order_relaxed);
  ::operator delete(block);
}

void deallocate(void* block, std::align_val_t alignment) noexcept {
  if (watched()) [[unlikely]]
    blocks.fetch_sub(1, std::memory_order_relaxed);
  ::operator delete(block, alignment);
}

}  // namespace fibers::detail
