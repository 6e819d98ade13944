// SPDX-License-Identifier: BSL-1.0
#pragma once

// The interface of this thread's loop for header-only components: how it parks. The loop itself is in a private header.

#include <boost/assert/source_location.hpp>
#include <exception>
#include <fibers/clock.hpp>
#include <fibers/detail/parts/parker.hpp>
#include <memory>

namespace fibers::detail {

class loop;

/// The parker that was chosen for this thread's loop; null if the loop parks its thread. Throws invalid_state_error if
/// this thread runs no loop.
parker* chosen_parker(boost::source_location const& place);
/// As above, but null if this thread runs no loop.
parker* chosen_parker() noexcept;

/// Sets the parker of this thread's loop. Precondition: none was chosen yet.
void choose_parker(std::unique_ptr<parker> chosen);

/// A factory of parkers: while it lives, each loop that starts on this thread without a parker gets one from `make`.
/// The newest of several factories is used. Created and destroyed on the same thread, in any order.
class parker_source {
 public:
  using function = std::unique_ptr<parker> (*)();

  explicit parker_source(function make) noexcept;
  parker_source(parker_source const&) = delete;
  parker_source& operator=(parker_source const&) = delete;
  ~parker_source();

 private:
  friend std::unique_ptr<parker> parker_of_this_thread();

  function const make_;
  parker_source* older_;
};

/// As parker_source, for all threads of the program that have none of their own. Has no effect in a shared library,
/// since a host need not know what its plugins include.
class program_parker_source {
 public:
  explicit program_parker_source(parker_source::function make) noexcept;
  program_parker_source(program_parker_source const&) = delete;
  program_parker_source& operator=(program_parker_source const&) = delete;
  ~program_parker_source();
};

/// Reports an exception that no caller can fetch to the loop's hook; without a hook or a loop, on stderr. The report
/// names `what` as the source, and the running task if there is one.
void report_unhandled(char const* what, std::exception_ptr const& error) noexcept;

/// Does this thread run a loop at this moment, be it in a task or between tasks?
bool loop_is_here() noexcept;

/// While it lives, this thread's loop is absent: its thread-local state is put away, and another loop may run here. For
/// a park() that lets other loops run. On the loop's own thread, outside of every task; on a thread without a loop it
/// has no effect.
class loop_absence {
 public:
  loop_absence() noexcept;
  loop_absence(loop_absence const&) = delete;
  loop_absence& operator=(loop_absence const&) = delete;
  ~loop_absence();

 private:
  loop* const loop_;
  time_point const* const virtual_now_;
};

}  // namespace fibers::detail
