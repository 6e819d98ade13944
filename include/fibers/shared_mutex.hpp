// SPDX-License-Identifier: BSL-1.0
#pragma once

// One writer, or any number of readers. For std::unique_lock (a writer) and std::shared_lock (a reader).
//
// Fair: FIFO among all waiters, neighbouring readers together, so neither readers nor writers starve. Thread-safe; may
// be held across suspensions. Invariant: the first waiter that is not being withdrawn cannot have the lock now.

#include <boost/assert/source_location.hpp>
#include <cstddef>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/parts/spinlock.hpp>

namespace fibers {

namespace detail {
enum class lock_mode : bool { shared, exclusive };

struct lock_request : wait_entry {
  lock_request(waiter& w, lock_mode m) noexcept : wait_entry(w), wanted(m) {}
  lock_mode const wanted;
};
}  // namespace detail

class shared_mutex {
 public:
  shared_mutex() = default;
  /// May be called once each lock() and lock_shared() has returned or thrown, also while an unlock has not returned on
  /// another thread. Waits that have not ended throw invalid_state_error.
  ~shared_mutex() = default;

  /// Acquires the lock for one writer.
  ///
  /// May suspend; cancellation point. If cancelled, the lock is not held.
  void lock(boost::source_location const& place = BOOST_CURRENT_LOCATION) { lock_as(mode::exclusive, place); }
  /// Acquires the lock for a reader, as lock() does for a writer.
  void lock_shared(boost::source_location const& place = BOOST_CURRENT_LOCATION) { lock_as(mode::shared, place); }

  /// As lock() and lock_shared(), but not cancellation points: a request stays pending.
  void lock_shielded(boost::source_location const& place = BOOST_CURRENT_LOCATION);
  void lock_shared_shielded(boost::source_location const& place = BOOST_CURRENT_LOCATION);

  /// Returns false if the lock is held in a conflicting mode or other tasks are queued. Does not suspend.
  bool try_lock() noexcept { return try_lock_as(mode::exclusive); }
  bool try_lock_shared() noexcept { return try_lock_as(mode::shared); }

  /// Releases the lock of a writer. Does not suspend. Throws invalid_state_error if no writer holds it.
  void unlock();
  /// Releases the lock of a reader. Does not suspend. Throws invalid_state_error if no reader holds it.
  void unlock_shared();

 private:
  using mode = detail::lock_mode;
  class acquisition;

  void lock_as(mode wanted, boost::source_location const& place);
  bool try_lock_as(mode wanted) noexcept;
  bool may_have(mode wanted) const noexcept;
  void take(mode wanted) noexcept;
  void serve(detail::owed_wakes& woken) noexcept;

  detail::spinlock spin_;  // guards what follows
  bool writer_ = false;
  std::size_t readers_ = 0;
  detail::wait_list<detail::lock_request> waiters_{spin_};
};

}  // namespace fibers
