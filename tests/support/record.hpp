// SPDX-License-Identifier: BSL-1.0
#pragma once

// Support for tests of tasks: virtual time, a record of events with their times, and a check of what is left at the
// end.

#include <fibers/run.hpp>
#include <fibers/task_local.hpp>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"

#if defined(FIBERS_ADDRESS_SANITIZER) || defined(FIBERS_THREAD_SANITIZER) || defined(FIBERS_VALGRIND)
#define FIBERS_TESTING_SANITIZED 1
#else
#define FIBERS_TESTING_SANITIZED 0
#endif

namespace fibers::testing {

/// Reduces a number: the thread sanitizer supports 8,128 fibers, the address sanitizer needs five times the mappings,
/// and Valgrind is thirty times as slow.
inline constexpr bool sanitized = FIBERS_TESTING_SANITIZED != 0;

/// The record of events, in order, each with the running loop's time in seconds: "starts@0, is cancelled@2.5". For one
/// thread.
class record {
 public:
  void operator()(std::string_view what) {
    std::ostringstream entry;
    entry << (text_.empty() ? "" : ", ") << what << '@'
          << std::chrono::duration<double>(clock::now().time_since_epoch()).count();
    text_ += entry.str();
  }
  std::string const& text() const { return text_; }
  bool contains(std::string_view text) const { return text_.find(text) != std::string::npos; }
  friend bool operator==(record const& r, std::string_view text) { return r.text_ == text; }
  friend std::ostream& operator<<(std::ostream& out, record const& r) { return out << r.text_; }

 private:
  std::string text_;
};

/// Returns how a call ended: "returned", "returned 5", "cancelled", "cancelled: too slow", "failed: no such file".
template <class F>
std::string how(F&& call) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      call();
      return "returned";
    } else {
      std::ostringstream text;
      text << "returned " << call();
      return text.str();
    }
  } catch (cancelled_error const& error) {
    return error.message().empty() ? "cancelled" : "cancelled: " + error.message();
  } catch (std::exception const& error) {
    return std::string("failed: ") + error.what();
  }
}

/// Counts its living instances, on one thread.
struct counted {
  counted() noexcept { ++alive; }
  counted(counted const&) noexcept { ++alive; }
  counted& operator=(counted const&) = default;
  ~counted() { --alive; }
  static inline int alive = 0;
};

/// A test case whose tasks run in virtual time, which begins at 0. At its end nothing is left: no task, no counted
/// object, and no exception that was neither fetched nor expected.
class virtual_time {
 public:
  virtual_time() = default;
  virtual_time(virtual_time const&) = delete;
  virtual_time& operator=(virtual_time const&) = delete;
  ~virtual_time() {
    CHECK(unfetched.empty());
    CHECK(counted::alive == 0);
    CHECK(tasks_left() == 0);
  }

 protected:
  template <class F>
  decltype(auto) run(F main) {
    return fibers::run(options(), [this, &main]() -> decltype(auto) {
      auto const mark = std::make_shared<int>();
      marks_.emplace_back(mark);
      inherited.set(mark);
      return main();
    });
  }

  run_options options() {
    run_options o;
    o.clock = clock_kind::virtual_time;
    o.on_unhandled = [this](std::string const& task, std::exception_ptr error) {
      unfetched.push_back(task + ": " + how([&] { std::rethrow_exception(error); }));
    };
    return o;
  }

  /// Returns in how many runs a task was spawned that still exists. Each task inherits a mark, and keeps it until its
  /// destruction.
  std::size_t tasks_left() const {
    std::size_t count = 0;
    for (auto const& mark : marks_) count += mark.expired() ? 0 : 1;
    return count;
  }

  record seen;
  std::vector<std::string> unfetched;  // "parse: failed: no digit"

 private:
  static inline task_local<std::shared_ptr<int>> inherited;
  std::vector<std::weak_ptr<int>> marks_;
};

}  // namespace fibers::testing

CATCH_TRANSLATE_EXCEPTION(fibers::cancelled_error const& error) { return error.what(); }
