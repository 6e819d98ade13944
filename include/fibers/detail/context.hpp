// SPDX-License-Identifier: BSL-1.0
#pragma once

// What is needed to go on with a fiber that has stopped. How to do so is in the private header of this room, so that
// programs which use the library need not compile Boost.Context's headers.

#include <cstddef>

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

/// Owns nothing: a fiber is never destroyed, it runs to its end.
class context {
 public:
  context() = default;
  context(context const&) = delete;
  context& operator=(context const&) = delete;

 private:
  friend class context_switch;

  void* stopped_at_ = nullptr;  // Boost.Context's fcontext_t

  // What a sanitizer wants to know of a fiber before it goes on. Always here, so that a program and the library may be
  // built with different options.
  [[maybe_unused]] void* sanitizer_stack_ = nullptr;
  [[maybe_unused]] std::size_t sanitizer_size_ = 0;
};

}  // namespace fibers::detail
