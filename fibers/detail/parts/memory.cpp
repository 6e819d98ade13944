// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/parts/memory.hpp>

namespace fibers::detail {

constinit std::atomic<int> memory_watches = 0;

namespace {

constinit std::atomic<long> blocks = 0;  // allocated less released while a hook was installed
constinit thread_local memory_watch* watch = nullptr;

template <class... Alignment>
void* take(std::size_t size, Alignment... alignment) {
  announce_allocation();
  auto* const block = ::operator new(size, alignment...);
  blocks.fetch_add(1, std::memory_order_relaxed);
  return block;
}

}  // namespace

memory_watch::memory_watch() noexcept : outer_(watch), before_(blocks.load(std::memory_order_relaxed)) {
  watch = this;
  memory_watches.fetch_add(1, std::memory_order_relaxed);
}

memory_watch::~memory_watch() {
  memory_watches.fetch_sub(1, std::memory_order_relaxed);
  watch = outer_;
}

long memory_watch::outstanding() const noexcept { return blocks.load(std::memory_order_relaxed) - before_; }

void announce_allocation() {
  if (watch != nullptr) [[unlikely]]
    watch->taking();
}

void* allocate_watched(std::size_t size) { return take(size); }
void* allocate_watched(std::size_t size, std::align_val_t alignment) { return take(size, alignment); }
void count_given_back() noexcept { blocks.fetch_sub(1, std::memory_order_relaxed); }

}  // namespace fibers::detail
