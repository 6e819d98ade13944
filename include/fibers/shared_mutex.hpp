// SPDX-License-Identifier: BSL-1.0
#pragma once

// One writer, or any number of readers. For std::unique_lock (a writer) and std::shared_lock (a reader).
//
// Fair: all are served in the order in which they came, and neighbouring readers together. So neither readers nor
// writers starve. For tasks of all threads' loops; may be held across suspensions. Invariant: whenever the lock is free
// for the first in the list, it has it.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <mutex>

namespace fibers {

class shared_mutex {
 public:
  shared_mutex() = default;

  /// Suspend. When cancelled, the lock is not held.
  void lock(boost::source_location const& place = BOOST_CURRENT_LOCATION) { lock_as(wish::alone, place); }
  void lock_shared(boost::source_location const& place = BOOST_CURRENT_LOCATION) { lock_as(wish::shared, place); }

  /// True if nobody who has it, or came before, is in the way. Do not suspend. Any thread.
  bool try_lock() noexcept { return try_lock_as(wish::alone); }
  bool try_lock_shared() noexcept { return try_lock_as(wish::shared); }

  /// Throw invalid_state_error if it is not locked so. Do not suspend. Any thread.
  void unlock();
  void unlock_shared();

 private:
  enum class wish : bool { shared, alone };
  struct entry;

  void lock_as(wish w, boost::source_location const& place);
  bool try_lock_as(wish w) noexcept;
  bool may_have(wish w) const noexcept;
  void take(wish w) noexcept;
  void serve(std::unique_lock<detail::spinlock>& guard) noexcept;

  detail::spinlock spin_;  // guards what follows
  bool writer_ = false;
  std::size_t readers_ = 0;
  detail::wait_list waiters_;
};

}  // namespace fibers
