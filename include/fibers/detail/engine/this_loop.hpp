// SPDX-License-Identifier: BSL-1.0
#pragma once

// What rooms that consist of headers may know of this thread's loop: how it sleeps. The loop itself is in the private
// header of this room.

#include <boost/assert/source_location.hpp>
#include <exception>
#include <fibers/clock.hpp>
#include <fibers/detail/parts/parker.hpp>
#include <memory>

namespace fibers::detail {

class loop;

/// The parker that was chosen for this thread's loop; null if it just sleeps as a thread does. Throws
/// invalid_state_error if this thread runs no loop.
parker* chosen_parker(boost::source_location const& place);
/// The same, and null if this thread runs no loop.
parker* chosen_parker() noexcept;

/// This thread's loop, for which none was chosen yet, sleeps so from now on.
void choose_parker(std::unique_ptr<parker> chosen);

/// While it lives, each loop that begins on this thread and was given no parker sleeps by one that `make` returns; if
/// there are several, by the newest one's. Made and destroyed by the same thread, in any order.
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

/// While it lives, all loops of the program, where their thread has no source of its own. Only the program itself can
/// decide so: in a shared library this has no effect, since a host need not know what its plugins include.
class program_parker_source {
 public:
  explicit program_parker_source(parker_source::function make) noexcept;
  program_parker_source(program_parker_source const&) = delete;
  program_parker_source& operator=(program_parker_source const&) = delete;
  ~program_parker_source();
};

/// Tells the loop's hook of an exception that nobody can fetch; if there is none, or no loop, stderr. It is said to
/// come from `what`, and from which task, if one is running.
void report_unhandled(char const* what, std::exception_ptr const& error) noexcept;

/// Does this thread run a loop at this moment: a task of it, or what it does between tasks?
bool loop_is_here() noexcept;

/// While it lives, this thread's loop is absent from it: what it keeps per thread is put away, and another loop may run
/// here. For a park() that lets others run. The loop's own thread, outside of every task; on a thread without a loop it
/// does nothing.
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
