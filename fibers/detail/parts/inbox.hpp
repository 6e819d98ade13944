// SPDX-License-Identifier: BSL-1.0
#pragma once

// The only entrance from another thread into a loop.
//
// A stack of entries: a poster pushes with one compare-exchange, the loop takes all at once and reads them oldest
// first. A poster owes a parked loop an unpark(). No wake-up is lost between the two:
//
//   poster: push entry     ; asleep_? -> unpark its parker, which may have changed: a loop's parkers live as long as it
//   loop:   set asleep_    ; is there an entry? -> do not park
//
// Both are sequentially consistent, so at least one of the two sees the other.
//
// The loop may read the entry, run the task to its end and be destroyed, all before post() returns. Posters are
// therefore counted, and the destructor waits for those still inside (a few instructions each).

#include <fibers/detail/parts/atomic.hpp>
#include <fibers/detail/parts/inbox_entry.hpp>

#include "thread_parker.hpp"

namespace fibers::detail {

class inbox {
 public:
  explicit inbox(parker& p) noexcept : parker_(&p) {}
  inbox(inbox const&) = delete;
  inbox& operator=(inbox const&) = delete;
  ~inbox() { close(); }

  /// Thread-safe. If the entry was not in the inbox, the inbox becomes an owner of the task: `share` is called before
  /// the loop can see the entry.
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

  /// Makes the loop poll once more. Thread-safe and async-signal-safe.
  void ring() noexcept {
    posters_.fetch_add(1);
    rung_.store(true);
    if (asleep_.load()) parker_.load()->unpark_from_signal();
    posters_.fetch_sub(1);
  }

  // --- the loop's own thread ---

  /// Replaces the parker.
  void use(parker& p) noexcept { parker_.store(&p); }

  bool empty() const noexcept { return newest_.load() == nullptr && !rung_.load(); }

  /// Takes out all entries and calls read(entry, notes) for each, oldest first. A note that comes meanwhile is a new
  /// entry.
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

  /// Parks until `deadline`, or until an entry is posted.
  void sleep(time_point deadline) {
    auto& parker = *parker_.load(std::memory_order_relaxed);
    asleep_.store(true);
    if (empty()) {
      parker.park(deadline);
    } else {
      parker.poll();  // the parker's event sources must not starve while others post without pause
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
    while (posters_.load() != 0) yield_thread();
  }

  atomic<parker*> parker_;
  atomic<inbox_entry*> newest_ = nullptr;
  atomic<int> posters_ = 0;
  atomic<bool> asleep_ = false;
  atomic<bool> rung_ = false;
};

}  // namespace fibers::detail
