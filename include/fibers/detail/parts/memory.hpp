// SPDX-License-Identifier: BSL-1.0
#pragma once

// The library's allocation functions: operator new with an allocation hook. A test uses the hook to fail the n-th
// allocation and to detect leaks. Without a hook the cost is one load and one branch.

#include <atomic>
#include <cstddef>
#include <fibers/detail/parts/cxx20.hpp>
#include <new>

namespace fibers::detail {

/// Allocation hook of its own thread, called before each allocation by the library. Of nested hooks only the innermost
/// is called; they are destroyed in LIFO order.
class memory_watch {
 public:
  memory_watch() noexcept;
  memory_watch(memory_watch const&) = delete;
  memory_watch& operator=(memory_watch const&) = delete;

  /// The number of blocks allocated and not yet released since the hook was installed, on all threads.
  long outstanding() const noexcept;

  /// May throw std::bad_alloc.
  virtual void taking() = 0;

 protected:
  virtual ~memory_watch();

 private:
  memory_watch* const outer_;
  long const before_;
};

/// Calls the hook, as allocate() does; for memory from other sources.
void announce_allocation();

extern constinit std::atomic<int> memory_watches;  // of all threads
[[nodiscard, gnu::cold]] void* allocate_watched(std::size_t size);
[[nodiscard, gnu::cold]] void* allocate_watched(std::size_t size, std::align_val_t alignment);
[[gnu::cold]] void count_given_back() noexcept;

// Inlined, and as fast as operator new.
template <class... Alignment>
[[nodiscard]] void* allocate(std::size_t size, Alignment... alignment) {
  if (memory_watches.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return allocate_watched(size, alignment...);
  return ::operator new(size, alignment...);
}
template <class... Alignment>
void deallocate(void* block, Alignment... alignment) noexcept {
  if (memory_watches.load(std::memory_order_relaxed) != 0) [[unlikely]]
    count_given_back();
  ::operator delete(block, alignment...);
}

/// Base of classes whose objects are allocated by allocate().
struct from_memory {
  static void* operator new(std::size_t size) { return allocate(size); }
  static void* operator new(std::size_t size, std::align_val_t alignment) { return allocate(size, alignment); }
  static void operator delete(void* block) noexcept { deallocate(block); }
  static void operator delete(void* block, std::align_val_t alignment) noexcept { deallocate(block, alignment); }
};

/// For containers and shared objects.
template <class T>
struct allocator {
  using value_type = T;

  allocator() = default;
  template <class U>
  allocator(allocator<U> const&) noexcept {}

  T* allocate(std::size_t count) {
    if (count > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__) {
      return static_cast<T*>(detail::allocate(count * sizeof(T), std::align_val_t(alignof(T))));
    } else {
      return static_cast<T*>(detail::allocate(count * sizeof(T)));
    }
  }
  void deallocate(T* block, std::size_t) noexcept {
    if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__) {
      detail::deallocate(block, std::align_val_t(alignof(T)));
    } else {
      detail::deallocate(block);
    }
  }
  friend bool operator==(allocator, allocator) noexcept { return true; }
};

}  // namespace fibers::detail
