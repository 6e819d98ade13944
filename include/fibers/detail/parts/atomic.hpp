// SPDX-License-Identifier: BSL-1.0
#pragma once

// The atomic variables of everything that crosses threads. They are those of std, except in the build that explores
// interleavings (tests/explored): there each operation first asks a scheduler which thread runs next.

#include <atomic>
#include <fibers/detail/parts/cxx20.hpp>

#ifdef FIBERS_EXPLORED
#include <cstdint>
#else
#include <sched.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif
#endif

namespace fibers::detail {

#ifndef FIBERS_EXPLORED

template <class T>
using atomic = std::atomic<T>;

/// Returns true only if this process has one thread: an ordinary instruction, five times as fast, may replace an atomic
/// one. Stable inside a critical section, which starts no threads. A signal handler takes no locks.
inline bool single_threaded() noexcept {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

/// For a thread that waits for what another thread is about to do.
inline void yield_thread() noexcept { ::sched_yield(); }
/// The number of times that a waiting thread looks before it yields.
inline constexpr int looks_before_yield = 100;

#else

inline bool single_threaded() noexcept { return false; }

namespace explored {
enum class state : std::uint32_t { destroyed = 0xdead, alive = 0xa11fe };

/// Called before each operation; returns when it is the calling thread's turn. A destroyed object is an error.
void step(void const* object, state const& of, char const* operation, char const* file, int line) noexcept;
/// Returns only after another thread has made a step.
void yield() noexcept;
}  // namespace explored

inline void yield_thread() noexcept { explored::yield(); }
inline constexpr int looks_before_yield = 0;

/// Sequentially consistent: the memory order argument is ignored.
template <class T>
class atomic {
 public:
  constexpr atomic() noexcept : value_() {}
  constexpr atomic(T value) noexcept : value_(value) {}
  atomic(atomic const&) = delete;
  atomic& operator=(atomic const&) = delete;
  ~atomic() { *const_cast<explored::state volatile*>(&state_) = explored::state::destroyed; }

  T load(std::memory_order = {}, char const* file = __builtin_FILE(), int line = __builtin_LINE()) const noexcept {
    explored::step(this, state_, "load", file, line);
    return value_;
  }
  void store(T value, std::memory_order = {}, char const* file = __builtin_FILE(),
             int line = __builtin_LINE()) noexcept {
    explored::step(this, state_, "store", file, line);
    value_ = value;
  }
  T exchange(T value, std::memory_order = {}, char const* file = __builtin_FILE(),
             int line = __builtin_LINE()) noexcept {
    explored::step(this, state_, "exchange", file, line);
    return replace(value);
  }
  bool compare_exchange_strong(T& expected, T value, std::memory_order = {}, char const* file = __builtin_FILE(),
                               int line = __builtin_LINE()) noexcept {
    explored::step(this, state_, "compare_exchange", file, line);
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = value;
    return true;
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order order = {}, char const* file = __builtin_FILE(),
                             int line = __builtin_LINE()) noexcept {
    return compare_exchange_strong(expected, value, order, file, line);
  }
  T fetch_add(T value, std::memory_order = {}, char const* file = __builtin_FILE(),
              int line = __builtin_LINE()) noexcept {
    explored::step(this, state_, "fetch_add", file, line);
    return replace(static_cast<T>(value_ + value));
  }
  T fetch_sub(T value, std::memory_order = {}, char const* file = __builtin_FILE(),
              int line = __builtin_LINE()) noexcept {
    explored::step(this, state_, "fetch_sub", file, line);
    return replace(static_cast<T>(value_ - value));
  }
  T fetch_or(T value, std::memory_order = {}, char const* file = __builtin_FILE(),
             int line = __builtin_LINE()) noexcept {
    explored::step(this, state_, "fetch_or", file, line);
    return replace(static_cast<T>(value_ | value));
  }
  operator T() const noexcept { return load(); }
  T operator=(T value) noexcept {
    store(value);
    return value;
  }

 private:
  T replace(T value) noexcept {
    T const old = value_;
    value_ = value;
    return old;
  }

  T value_;
  explored::state state_ = explored::state::alive;
};

#endif

}  // namespace fibers::detail
