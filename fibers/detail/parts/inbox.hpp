// SPDX-License-Identifier: BSL-1.0
#pragma once

// The only way from another thread into a loop.
//
// A stack of entries: a poster pushes with one compare-exchange, the loop takes all at once and reads them oldest
// first. A loop that is about to sleep and a poster must not miss each other:
//
//   poster: push entry          ; is the loop asleep? -> wake its parker, which may have changed since: all of a loop's
//                                 parkers live as long as it does
//   loop:   say it is asleep    ; is an entry there?  -> do not sleep
//
// Both are sequentially consistent, so at least one of the two sees the other.
//
// The loop may read the entry, run the task to its end and be over, all before the poster is through. So posters are
// counted, and a loop that is over waits for those that are still inside (a few instructions each).

#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/inbox_entry.hpp>
#include <fibers/detail/parts/spinlock.hpp>

#include "thread_parker.hpp"

namespace fibers::detail {

class inbox {
 public:
  explicit inbox(parker& p) noexcept : parker_(&p) {}
  inbox(inbox const&) = delete;
  inbox& operator=(inbox const&) = delete;
  ~inbox() { close(); }

  /// Any thread. True if the entry was not in the inbox before: the inbox's share in the task begins.
  /// `share` is called then, before the loop can see the entry.
  template <class Share>
  void post(inbox_entry& entry, inbox_entry::note note, Share share) noexcept {
    posters_.fetch_add(1);
    if (entry.notes.fetch_or(note) == 0) {
      share();
      push(entry);
      if (asleep_.load()) parker_.load()->unpark();
    }
    posters_.fetch_sub(1);  // the last touch
  }

  /// Any thread, and signal handlers: the loop has another look at what it watches.
  void ring() noexcept {
    posters_.fetch_add(1);
    rung_.store(true);
    if (asleep_.load()) parker_.load()->unpark_from_signal();
    posters_.fetch_sub(1);
  }

  // --- the loop's own thread ---

  /// Sleeps so from now on.
  void use(parker& p) noexcept { parker_.store(&p); }

  bool empty() const noexcept { return newest_.load() == nullptr && !rung_.load(); }

  /// Takes out everything: read(entry, notes) for each, oldest first. A note that comes meanwhile is a new entry.
  template <class Read>
  void drain(Read read) noexcept {
    rung_.store(false);
    inbox_entry* oldest = nullptr;
    for (auto* entry = newest_.exchange(nullptr); entry != nullptr;) {
      auto* const older = entry->next;
      entry->next = oldest;
      oldest = entry;
      entry = older;
    }
    while (oldest != nullptr) {
      auto* const next = oldest->next;  // before a new poster may use it
      auto const notes = oldest->notes.exchange(0);
      read(*oldest, notes);
      oldest = next;
    }
  }

  /// Sleeps until `deadline`, or until something is posted.
  void sleep(time_point deadline) {
    auto& parker = *parker_.load(std::memory_order_relaxed);
    asleep_.store(true);
    if (empty()) {
      parker.park(deadline);
    } else {
      parker.poll();  // what it looks after must not starve because others post without pause
    }
    asleep_.store(false);
  }

 private:
  void push(inbox_entry& entry) noexcept {
    auto* newest = newest_.load(std::memory_order_relaxed);
    do {
      entry.next = newest;
    } while (!newest_.compare_exchange_weak(newest, &entry));
  }

  void close() noexcept {
    while (posters_.load() != 0) spinlock::yield();
  }

  atomic<parker*> parker_;
  atomic<inbox_entry*> newest_ = nullptr;
  atomic<int> posters_ = 0;
  atomic<bool> asleep_ = false;
  atomic<bool> rung_ = false;
};

}  // namespace fibers::detail
