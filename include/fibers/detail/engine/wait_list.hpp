// SPDX-License-Identifier: BSL-1.0
#pragma once

// The FIFO list of waiters under every primitive. It is guarded by the lock of its primitive.
//
//   waiting task: lock; link; unlock; suspend
//   notifier:     lock; claim the first, unlink it, hand over; unlock; wake
//   canceller:    claim; lock; unlink, the primitive's own step (left()); unlock; wake
//
// Invariant: a linked waiter that is claimed is being withdrawn at this moment, by a thread that is about to take the
// lock. A notifier passes over it. The destructor takes the lock and waits until no waiter is linked. This closes the
// races in which a woken task destroys the primitive:
//
//   thread 1 (notifier)      thread 2 (woken task)          thread 3 (canceller)
//   lock                                                    claim its waiter
//   claim the first waiter
//   unlock; wake             destructor: lock, its waiter
//                            is linked: unlock, try again   lock; unlink; unlock (last touch); wake
//                            lock; the list is empty
//
// A task that found the primitive's state without the lock (event::is_set) waits for the notifier's unlock in the same
// way. The lock is released before a wake, since the woken task may run at once on another thread.
//
// Next: suspend.hpp.

#include <boost/assert.hpp>
#include <boost/intrusive/list.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <mutex>
#include <utility>

namespace fibers::detail {

using wait_hook = boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::normal_link>>;

/// A place in one list. Primitives derive from it to add what is handed over.
struct wait_entry : wait_hook {
  explicit wait_entry(waiter& w) noexcept : owner(w) {}
  wait_entry(wait_entry const&) = delete;
  wait_entry& operator=(wait_entry const&) = delete;
  ~wait_entry() { BOOST_ASSERT(!linked); }

  waiter& owner;
  wait_entry* next_owed = nullptr;  // in owed_wakes
  bool linked = false;              // in a wait_list
};

/// Claimed waiters that are to be woken: its destructor wakes them in FIFO order. Declare it before the lock's guard,
/// so that it is destroyed after the lock was released.
class owed_wakes {
 public:
  owed_wakes() = default;
  owed_wakes(owed_wakes const&) = delete;
  owed_wakes& operator=(owed_wakes const&) = delete;
  ~owed_wakes() {
    while (first_ != nullptr) wake(std::exchange(first_, first_->next_owed)->owner);
  }
  void add(wait_entry& claimed) noexcept {
    (first_ == nullptr ? first_ : last_->next_owed) = &claimed;
    last_ = &claimed;
  }

 private:
  wait_entry* first_ = nullptr;
  wait_entry* last_ = nullptr;
};

enum class place_in_line : bool { last, first };

template <class Entry = wait_entry>
class wait_list {
 public:
  /// Guarded by this lock, which must outlive the list. All functions but the constructor and the destructor require
  /// it.
  explicit wait_list(spinlock& lock) noexcept : lock_(lock) {}
  wait_list(wait_list const&) = delete;
  wait_list& operator=(wait_list const&) = delete;
  /// Wakes the waiters that are left: their waits throw invalid_state_error.
  ~wait_list() {
    while (!close()) yield_thread();
  }

  bool empty() const noexcept {
    BOOST_ASSERT(lock_.is_locked());
    return entries_.empty();
  }

  void link(Entry& entry, place_in_line where = place_in_line::last) noexcept {
    BOOST_ASSERT(lock_.is_locked());
    entries_.insert(where == place_in_line::last ? entries_.end() : entries_.begin(), entry);
    entry.linked = true;
  }
  void unlink(Entry& entry) noexcept {
    BOOST_ASSERT(lock_.is_locked() && entry.linked);
    entries_.erase(entries_.iterator_to(entry));
    entry.linked = false;
  }

  /// Claims and unlinks the first waiter that no other party has claimed, if it may have what there is: may(entry).
  /// Returns null if there is none, or if it may not: no waiter behind it is looked at.
  template <class May>
  Entry* notify_first(owed_wakes& woken, May may) noexcept {
    BOOST_ASSERT(lock_.is_locked());
    for (auto next = entries_.begin(); next != entries_.end();) {
      auto& entry = *next++;
      if (entry.owner.claimed() != claim::none) continue;
      if (!may(entry)) return nullptr;
      if (claim_and_unlink(entry, claim::notified, woken)) return &entry;
    }
    return nullptr;
  }
  Entry* notify_first(owed_wakes& woken) noexcept {
    return notify_first(woken, [](Entry&) { return true; });
  }

  /// Calls visit(entry) for each waiter, also for those that are being withdrawn, and then claims it if it can be.
  template <class Visit>
  void notify_all(owed_wakes& woken, Visit visit, claim reason = claim::notified) noexcept {
    BOOST_ASSERT(lock_.is_locked());
    for (auto next = entries_.begin(); next != entries_.end();) {
      auto& entry = *next++;
      visit(entry);
      claim_and_unlink(entry, reason, woken);
    }
  }
  void notify_all(owed_wakes& woken) noexcept {
    notify_all(woken, [](Entry&) {});
  }

  spinlock& lock() const noexcept { return lock_; }

 private:
  bool claim_and_unlink(Entry& entry, claim reason, owed_wakes& woken) noexcept {
    if (!entry.owner.try_claim(reason)) return false;
    unlink(entry);
    woken.add(entry);
    return true;
  }
  // Returns false while withdrawals are under way.
  bool close() noexcept {
    owed_wakes woken;
    std::scoped_lock const guard(lock_);
    notify_all(
        woken, [](Entry&) {}, claim::destroyed);
    return entries_.empty();
  }

  spinlock& lock_;
  boost::intrusive::list<Entry, boost::intrusive::base_hook<wait_hook>, boost::intrusive::constant_time_size<false>>
      entries_;
};

/// The wait of a task in one list.
template <class Entry = wait_entry>
class list_waiter : public waiter, public Entry {
 public:
  /// The other arguments are the entry's.
  template <class... Arguments>
  list_waiter(task_state& task, boost::source_location const& place, wait_list<Entry>& list,
              Arguments&&... arguments) noexcept
      : waiter(task, place), Entry(static_cast<waiter&>(*this), arguments...), list_(list) {}

  /// Links it, releases `guard`, which is the lock of the list, and suspends. Afterwards the waiter is unlinked, and
  /// nothing of the primitive is touched. The caller has called enter().
  [[nodiscard]] claim sleep(std::unique_lock<spinlock>& guard, place_in_line where = place_in_line::last) noexcept {
    list_.link(*this, where);
    guard.unlock();
    return suspend(*this);
  }
  /// As sleep(); throws if the wait did not end by what the task waited for.
  void wait(std::unique_lock<spinlock>& guard, place_in_line where = place_in_line::last) {
    settle(task(), sleep(guard, where));
  }

  void withdraw() noexcept override {
    owed_wakes woken;
    std::scoped_lock const guard(list_.lock());
    list_.unlink(*this);
    left(woken);
  }

 protected:
  ~list_waiter() = default;

 private:
  /// The primitive's own step after this waiter was withdrawn. Under its lock; other waiters may be claimed into
  /// `woken`.
  virtual void left(owed_wakes&) noexcept {}

  wait_list<Entry>& list_;
};

/// For primitives that have nothing to do when a waiter leaves.
template <class Entry = wait_entry>
class simple_waiter final : public list_waiter<Entry> {
 public:
  using list_waiter<Entry>::list_waiter;
};

}  // namespace fibers::detail
