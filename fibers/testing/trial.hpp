// SPDX-License-Identifier: BSL-1.0
#pragma once

// One run of a body under watch: counts its points, lets the derived class interfere there, and finds what is wrong at
// the end.

#include <cstddef>
#include <exception>
#include <fibers/detail/parts/memory.hpp>
#include <functional>
#include <memory>
#include <string>

#include "../detail/engine/loop.hpp"
#include "../detail/engine/loop_watch.hpp"
#include "../detail/engine/unhandled.hpp"

namespace fibers::testing::detail {

class trial : private fibers::detail::loop_watch, private fibers::detail::memory_watch {
 public:
  explicit trial(std::size_t most_points) : most_points_(most_points) {}

  trial(trial const&) = delete;
  trial& operator=(trial const&) = delete;
  virtual ~trial() = default;

  /// Runs the body in virtual time. Returns what is wrong with how that went; nothing is if it is empty.
  std::string play(std::function<void()> const& body);

  /// How many blocks of the library's memory the body did not give back.
  long blocks_left() const noexcept { return blocks_left_; }

 protected:
  // --- for who interferes; between the body's begin and its end ---

  /// Called in the main task, instead of the body.
  virtual void call(std::function<void()> const& body) { body(); }
  /// At each point; `where` tells which, when asked.
  virtual void point(std::function<std::string()> const& /*where*/) {}
  /// Each time the library takes memory.
  virtual void allocation(std::function<std::string()> const& /*where*/) {}

  /// Is an exception that left the body, or a task of which nobody fetched it, what should be after what was done?
  virtual bool expects(std::exception_ptr const&) const { return false; }
  /// What is wrong, if anything, with a body that has come to its end.
  virtual std::string returned() const { return {}; }
  /// Should it end cancelled?
  virtual bool cancelled() const { return false; }

  fibers::detail::task_state& main() const noexcept { return *main_; }

 private:
  void at_point(fibers::detail::task_state& task, boost::source_location const& place) override;
  bool at_rest(fibers::detail::loop& loop) override;
  void main_ended(fibers::detail::loop& loop) override;
  void ended(fibers::detail::loop& loop) override;
  void taking() override;

  void note_end(fibers::detail::task_state& main);
  bool count_point(fibers::detail::loop& loop);
  void wrong(std::string const& what);

  std::size_t const most_points_;
  std::size_t points_ = 0;
  fibers::detail::task_state* main_ = nullptr;
  bool running_ = false;  // the body is
  boost::source_location latest_place_ = {};
  std::string wrong_ = {};  // the first thing that is
  long blocks_left_ = 0;
};

/// Plays a trial made by `make`. Memory that was not given back counts as wrong if it happens twice: the first time
/// something may have grown that lives on, outside of the body.
std::string play(std::unique_ptr<trial>& latest, std::function<std::unique_ptr<trial>()> const& make,
                 std::function<void()> const& body);

/// "load() at cache.cpp:12, in task 'main'"
std::string describe_point(fibers::detail::task_state& task, boost::source_location const& place);

/// Asks the leak sanitizer, if the program is built with it: once after many runs, since that takes long.
void check_for_leaks(char const* function);

/// Throws invalid_state_error inside of a task.
void refuse_nesting(char const* function);

}  // namespace fibers::testing::detail
