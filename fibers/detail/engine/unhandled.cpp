// SPDX-License-Identifier: BSL-1.0


#include <cxxabi.h>

#include <atomic>
#include <boost/core/demangle.hpp>
#include <cstdio>
#include <fibers/detail/engine/unhandled.hpp>
#include <fibers/error.hpp>

namespace fibers::detail {

std::string describe(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    return e.what();
  } catch (cancelled_error const& e) {
    return e.what();
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    auto const* const type = abi::__cxa_current_exception_type();
    return std::string("an exception of type ") + (type != nullptr ? boost::core::demangle(type->name()) : "unknown");
  }
}

namespace {
constinit std::atomic<unsigned long> unhandled = 0;
}

unsigned long unhandled_count() noexcept { return unhandled.load(std::memory_order_relaxed); }

void report_unhandled(unhandled_exception_hook const* hook, std::string const& source, std::exception_ptr const& error,
                      std::string const& sentence) noexcept {
  unhandled.fetch_add(1, std::memory_order_relaxed);
  try {
    if (hook != nullptr && *hook) {
      (*hook)(source, error);
      return;
    }
  } catch (...) {
    std::fprintf(stderr, "fibers: on_unhandled itself failed: %s\n", describe(std::current_exception()).c_str());
  }
  std::fprintf(stderr, "fibers: %s: %s\n", sentence.c_str(), describe(error).c_str());
}

}  // namespace fibers::detail
