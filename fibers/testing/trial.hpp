// SPDX-License-Identifier: BSL-1.0
#pragma once

// One observed run of a body: counts its points, lets a derived class intervene at each, and checks the end.

#include <cstddef>
#include <exception>
#include <fibers/detail/parts/memory.hpp>
#include <functional>
#include <memory>
#include <string>

#include "../detail/engine/loop.hpp"
#include "../detail/engine/loop_watch.hpp"

namespace fibers::testing::detail {

class trial : private fibers::detail::loop_watch, private fibers::detail::memory_watch {
 public:
  explicit trial(std::size_t most_points) : most_points_(most_points) {}

  trial(trial const&) = delete;
  trial& operator=(trial const&) = delete;
  virtual ~trial() = default;

  /// Runs the body in virtual time. Returns a description of the first fault; empty if there is none.
  std::string play(std::function<void()> const& body);

  /// The number of blocks of the library's memory that the body has not released.
  long blocks_left() const noexcept { return blocks_left_; }

 protected:
  // --- for derived classes; called while the body runs ---

  /// Called in the main task, instead of the body.
  virtual void call(std::function<void()> const& body) { body(); }
  /// Called at each point; `where` describes it.
  virtual void point(std::function<std::string()> const& /*where*/) {}
  /// Called before each allocation of the library.
  virtual void allocation(std::function<std::string()> const& /*where*/) {}

  /// Returns true if this exception, which left the body or was never fetched, is a correct consequence of the
  /// interventions.
  virtual bool expects(std::exception_ptr const&) const { return false; }
  /// Describes the fault of a body that returned; empty if there is none.
  virtual std::string returned() const { return {}; }
  /// Returns true if the body may end cancelled.
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
  bool running_ = false;  // is the body running?
  boost::source_location latest_place_ = {};
  std::string wrong_ = {};  // the first fault
  long blocks_left_ = 0;
};

/// Plays a trial made by `make`. Memory that was not released is a fault if it happens twice: the first time an object
/// outside of the body may have grown.
std::string play(std::unique_ptr<trial>& latest, std::function<std::unique_ptr<trial>()> const& make,
                 std::function<void()> const& body);

/// "load() at cache.cpp:12, in task 'main'"
std::string describe_point(fibers::detail::task_state& task, boost::source_location const& place);

/// Runs the leak sanitizer's check, if the program is built with it: once after many runs, since it takes long.
void check_for_leaks(char const* function);

/// Throws invalid_state_error inside of a task.
void refuse_nesting(char const* function);

}  // namespace fibers::testing::detail
