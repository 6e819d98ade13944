// SPDX-License-Identifier: BSL-1.0
#pragma once

// A fixture that detects leaks of a test case: memory of the library (tasks that a handle keeps, items, errors) and
// unfetched exceptions. Header-only, for Catch2 of version 2 or 3, and for GoogleTest:
//
//   #include <catch2/catch.hpp>                  // the framework first
//   #include <fibers/testing/leak_check.hpp>
//   TEST_CASE_METHOD(fibers::testing::leak_check, "…") { … }
//
//   #include <gtest/gtest.h>
//   #include <fibers/testing/leak_check.hpp>
//   using cache_test = fibers::testing::leak_check_test;
//   TEST_F(cache_test, …) { … }
//
// Without a framework, or at any moment: leak_check::problem().

#include <exception>
#include <fibers/detail/engine/unhandled.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <string>

namespace fibers::testing {

class leak_check : private fibers::detail::memory_watch {
 public:
  leak_check() noexcept = default;
  leak_check(leak_check const&) = delete;
  leak_check& operator=(leak_check const&) = delete;

  ~leak_check() {
    if (std::uncaught_exceptions() > uncaught_before_) return;  // the test has failed already; leaks are a consequence
#if defined(CATCH_CONFIG_PREFIX_ALL)
    if (auto const found = problem(); !found.empty()) CATCH_FAIL_CHECK(found);
#elif defined(FAIL_CHECK)
    if (auto const found = problem(); !found.empty()) FAIL_CHECK(found);
#elif defined(ADD_FAILURE)
    if (auto const found = problem(); !found.empty()) ADD_FAILURE() << found;
#endif
  }

  /// Returns a description of the leaks since the construction, on all threads; empty if there are none.
  std::string problem() const {
    std::string found;
    if (auto const blocks = outstanding(); blocks > 0) {
      found = std::to_string(blocks) +
              " blocks of the library's memory were not given back: is something kept, such as a handle of a task?";
    }
    if (auto const errors = fibers::detail::unhandled_count() - unhandled_before_; errors > 0) {
      found += (found.empty() ? "" : "; ") + std::to_string(errors) +
               (errors == 1 ? " exception was" : " exceptions were") + " not fetched";
    }
    return found;
  }

 private:
  void taking() override {}

  int const uncaught_before_ = std::uncaught_exceptions();
  unsigned long const unhandled_before_ = fibers::detail::unhandled_count();
};

#if defined(GTEST_API_)
/// The fixture as a base class for TEST_F.
class leak_check_test : public ::testing::Test {
  leak_check check_;
};
#endif

}  // namespace fibers::testing
