// SPDX-License-Identifier: BSL-1.0
#pragma once

// A flag that any number of tasks wait for.
//
//   fibers::event ready;
//   auto task = fibers::spawn([&] { ready.wait(); … });
//   ready.set();
//
// For something that happens once, or stays true for a while. To wait for a condition of shared data use
// condition_variable, which does not miss a short state; to hand items over use queue.
//
// Thread-safe. Invariant: while it is set, no waiter is linked, save those that are being withdrawn.
//
// Here begins the path through the engine. Next: event.cpp, then detail/engine/waiter.hpp.

#include <boost/assert/source_location.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/spinlock.hpp>

namespace fibers {

class event {
 public:
  event() = default;
  /// May be called as soon as a wait() has returned or is_set() was true, also while set() has not returned on another
  /// thread. Waits that have not ended throw invalid_state_error.
  ~event() = default;

  /// Wakes all waiters in FIFO order. A woken wait() returns even if clear() is called before it runs.
  ///
  /// Does not suspend. A woken task may destroy the event.
  void set() noexcept;

  /// Resets the flag: later calls of wait() wait for the next set(). Does not suspend.
  void clear() noexcept { set_.store(false); }

  bool is_set() const noexcept { return set_.load(); }

  /// Returns once the flag is set.
  ///
  /// May suspend; cancellation point. Afterwards it does not touch the event.
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION);

 private:
  detail::atomic<bool> set_ = false;  // becomes true under the lock
  detail::spinlock lock_;             // guards the list
  detail::wait_list<> waiters_{lock_};
};

}  // namespace fibers
