// SPDX-License-Identifier: BSL-1.0
#pragma once

// Something that has happened or not, for any number of tasks to wait for.
//
//   fibers::event ready;
//   auto task = fibers::spawn([&] { ready.wait(); … });
//   ready.set();
//
// For tasks of all threads' loops. Invariant: while it is set, nobody stands in the list.

#include <atomic>
#include <boost/assert/source_location.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>

namespace fibers {

class event {
 public:
  event() = default;

  /// Lets go all that wait, in the order in which they came, even if clear() comes before they run. Does not suspend.
  /// Any thread. Whoever is let go may destroy the event.
  void set() noexcept;

  /// Who waits from now on waits for the next set(). Does not suspend. Any thread.
  void clear() noexcept { set_.store(false); }

  bool is_set() const noexcept { return set_.load(); }

  /// Returns once it is set. Suspends.
  void wait(boost::source_location const& place = BOOST_CURRENT_LOCATION);

 private:
  std::atomic<bool> set_ = false;  // becomes true under the lock
  detail::spinlock lock_;          // guards the list
  detail::wait_list waiters_;
};

}  // namespace fibers
