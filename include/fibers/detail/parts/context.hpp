// SPDX-License-Identifier: BSL-1.0
#pragma once

// The state from which a suspended fiber is resumed. The switch itself is in a private header, so that programs which
// use the library need not compile Boost.Context's headers.

#include <cstddef>
#if defined(__x86_64__) || defined(__aarch64__)
#include <cstdint>
#else
#include <cfenv>
#include <fibers/detail/parts/cxx20.hpp>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FIBERS_ADDRESS_SANITIZER
#elif defined(__SANITIZE_THREAD__)
#define FIBERS_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBERS_ADDRESS_SANITIZER
#elif __has_feature(thread_sanitizer)
#define FIBERS_THREAD_SANITIZER
#endif
#endif

namespace fibers::detail {

/// The control registers of the floating-point unit: rounding mode, unmasked exceptions, treatment of denormals.
///
/// save() and load() are inlined and use the members in place. A copy of a value that was just saved would stall on
/// store forwarding, since the stores have other sizes than the loads.
class floating_point_control {
 public:
  /// Reads the running fiber's registers.
  [[gnu::always_inline]] void save() noexcept {
#if defined(__x86_64__)
    asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr_), "=m"(x87_));
#elif defined(__aarch64__)
    asm volatile("mrs %0, fpcr" : "=r"(fpcr_));
#else
    std::fegetenv(&environment_);
#endif
  }
  [[gnu::always_inline]] void load() const noexcept {
#if defined(__x86_64__)
    asm volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr_), "m"(x87_));
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" : : "r"(fpcr_));
#else
    std::fesetenv(&environment_);
#endif
  }

 private:
#if defined(__x86_64__)
  std::uint32_t mxcsr_ = 0;
  std::uint16_t x87_ = 0;
#elif defined(__aarch64__)
  std::uint64_t fpcr_ = 0;
#else
  std::fenv_t environment_ = {};
#endif
};

/// Owns nothing: a fiber is never unwound from outside.
class context {
 public:
  context() = default;
  context(context const&) = delete;
  context& operator=(context const&) = delete;

 private:
  friend class context_switch;

  void* stopped_at_ = nullptr;  // Boost.Context's fcontext_t

  // For the sanitizers' fiber interface. Always present, so that a program and the library may be built with different
  // options.
  [[maybe_unused]] void* sanitizer_stack_ = nullptr;
  [[maybe_unused]] std::size_t sanitizer_size_ = 0;
};

}  // namespace fibers::detail
