// SPDX-License-Identifier: BSL-1.0
#pragma once

// The one fair queue under every primitive: first come, first served, and who leaves loses its place and nothing else.
//
// Guarded by the lock of the primitive it belongs to. Who gives something (an item, a permit, a lock) takes the first
// entry that can still be claimed, gives while holding the lock, and wakes it after. An entry whose waiter was
// cancelled is found claimed, and is passed over; so what is given always reaches somebody, or stays. Who takes an
// entry off says so in it, as the last touch if it could not be claimed: its sleeper then does not look for the list.
//
//   sleeper:   lock; push; unlock; sleep;              if it was not notified: lock; off the list
//   notifier:  lock; claim the first; give; unlock; wake
//   canceller: claim; wake
//
// The lock is given up before the wake: whoever is woken may destroy the primitive.

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <mutex>

namespace fibers::detail {

enum class place_in_line : bool { last, first };

class wait_list {
  struct is_claimed {
    bool operator()(wait_entry const& entry) const noexcept { return entry.sleeper.claimed() != claim::none; }
  };

 public:
  wait_list() = default;
  wait_list(wait_list const&) = delete;
  wait_list& operator=(wait_list const&) = delete;
  /// Whoever still waits is woken, and gets an invalid_state_error.
  ~wait_list();

  bool empty() const noexcept { return entries_.empty(); }

  /// Takes out and claims the first that can be claimed; null if there is none. The caller owes it a wake().
  [[nodiscard]] wait_entry* claim_first() noexcept {
    while (auto* const first = pop()) {
      bool const claimed = first->sleeper.try_claim(claim::notified);
      orphan(*first);
      if (claimed) return first;
    }
    return nullptr;
  }

  /// The first that nobody had claimed just now; null if there is none. For those who must see what it wants before
  /// they can say whether it gets it: then claim_first() takes it, or the one after it. Those before it are off, so if
  /// they were in the way of the others, it is now the caller who must look after these.
  wait_entry* first() noexcept {
    while (!entries_.empty()) {
      auto& first = entries_.front();
      if (!is_claimed()(first)) return &first;
      entries_.pop_front();
      orphan(first);
    }
    return nullptr;
  }

  /// Takes out and claims, from the front on, those whose turn `may_have(entry)` says it is, and calls take(entry) for
  /// each. The caller owes them a wake(), through `served`, without the lock.
  template <class MayHave, class Take>
  void serve(wait_list& served, MayHave may_have, Take take) noexcept {
    for (auto* next = first(); next != nullptr && may_have(*next); next = first()) {
      remove(*next);
      bool const claimed = next->sleeper.try_claim(claim::notified);  // else it was cancelled just now
      orphan(*next);
      if (!claimed) continue;
      take(*next);
      served.push(*next);
    }
  }

  /// Is there an entry that is not claimed? Amortised O(1): of the claimed entries in front only the first stays. It
  /// was cancelled, and when its task runs, that task serves the other waiters on behalf of all entries that were
  /// removed.
  bool anybody() noexcept {
    auto next = entries_.begin();
    if (next == entries_.end()) return false;
    if (!is_claimed()(*next)) return true;
    for (++next; next != entries_.end() && is_claimed()(*next);) {
      auto& claimed = *next;
      next = entries_.erase(next);
      orphan(claimed);
    }
    return next != entries_.end();
  }

  /// The number of entries, with those that were cancelled and whose tasks have not run since. O(1).
  std::size_t size() const noexcept { return entries_.size(); }

  /// The number of entries that are not claimed; removes the others. O(n).
  std::size_t count() noexcept {
    entries_.remove_and_dispose_if(is_claimed(), [](wait_entry* entry) { orphan(*entry); });
    return entries_.size();
  }

  /// Takes out the first; null if there is none. For those who give it something whether or not it was cancelled; if it
  /// was, they orphan() it.
  wait_entry* pop() noexcept {
    if (entries_.empty()) return nullptr;
    auto& first = entries_.front();
    entries_.pop_front();
    return &first;
  }

  /// Takes out and claims all that can be claimed. The caller owes them a wake(), through this list, without the lock.
  void claim_all_into(wait_list& claimed) noexcept {
    while (auto* const entry = claim_first()) claimed.entries_.push_back(*entry);
  }
  void wake_all() noexcept {
    while (!entries_.empty()) {
      auto& first = entries_.front();
      entries_.pop_front();
      wake(first);
    }
  }

  static void orphan(wait_entry& entry) noexcept {
    entry.orphaned.store(true, std::memory_order_release);  // its sleeper sees it off the list, and may be gone
  }

  void push(wait_entry& entry) noexcept { entries_.push_back(entry); }
  void remove(wait_entry& entry) noexcept {
    if (entry.is_linked()) entries_.erase(entries_.iterator_to(entry));
  }

  /// Stands in the list, at its end as a rule, until it is claimed; `lock` is given up meanwhile. If it was notified,
  /// `lock` is not held afterwards, and nothing of the primitive may be touched, since it may be gone. Else the entry
  /// is off the list, and `lock` is held, unless the primitive is gone. `Suspend` is suspend, or suspend_for_outside
  /// for what comes from there.
  template <claim (*Suspend)(waiter&) noexcept = suspend>
  [[nodiscard]] claim sleep(std::unique_lock<spinlock>& lock, wait_entry& entry,
                            place_in_line where = place_in_line::last) noexcept {
    entries_.insert(where == place_in_line::last ? entries_.end() : entries_.begin(), entry);
    lock.unlock();
    auto const how = Suspend(entry.sleeper);
    if (how != claim::notified && !entry.orphaned.load(std::memory_order_acquire)) {
      lock.lock();
      remove(entry);
    }
    return how;
  }

  /// The same for who has nothing to set right: `lock` is not held afterwards. Throws the request if it was cancelled;
  /// then nothing was given. Call enter() first.
  template <claim (*Suspend)(waiter&) noexcept = suspend>
  void wait(std::unique_lock<spinlock>& lock, wait_entry& entry, place_in_line where = place_in_line::last) {
    auto const how = sleep<Suspend>(lock, entry, where);
    if (lock.owns_lock()) lock.unlock();
    settle(entry.sleeper.task(), how);
  }

 private:
  boost::intrusive::list<wait_entry> entries_;
};

}  // namespace fibers::detail
