// SPDX-License-Identifier: BSL-1.0
#pragma once

// One wait of one task: it lives on the sleeper's stack, from before the sleeper can be found until after it has run
// again.
//
//   armed --claim--> notified | cancelled | closed
//
// Whoever wants to end the wait claims it: the one who has what it waits for, a timer, a canceller, a closing loop.
// Exactly one claim succeeds, and its maker owes the sleeper a wake(), as its last touch; losers change nothing. The
// sleeper takes itself off every list it stands in before its waiter goes, so that a late loser never finds a dead one.

#include <atomic>
#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list_hook.hpp>
#include <cstdint>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/error.hpp>
#include <span>

namespace fibers::detail {

class task_state;

enum class claim : std::uint8_t {
  none,       ///< armed: nobody has claimed it yet
  notified,   ///< what it waited for has come
  cancelled,  ///< a request to cancel took the wait back
  closed,     ///< nothing can end this wait any more (a deadlock)
  destroyed,  ///< what it waited for is gone
};

/// What a wait does with a request to cancel.
enum class on_cancel : std::uint8_t {
  withdraw,  ///< it ends, and the request is thrown
  tell,      ///< it goes on, and so the request stays pending; but what is waited for is told of it (told_waiter)
  hold,      ///< the request stays pending: a destructor waits for what must end first
};

/// The tasks to which a wait passes requests on; it goes on itself. Used on the sleeper's own thread.
struct awaited_tasks {
  std::span<task_state* const> tasks;
  bool passed = false;         ///< was a request passed on?
  cancelled_error error = {};  ///< the latest that was

  // While a request is under way inwards (request.cpp):
  task_state* sleeper = nullptr;
  std::uint32_t deliveries_before = 0;  // of the sleeper's requests
  awaited_tasks* back = nullptr;
  std::size_t next = 0;
  bool on_path = false;
  bool accepted = false;
};

class waiter;

/// A place in one wait list. Most waits have one, the waiter itself; one that stands in several lists has more.
struct wait_entry : boost::intrusive::list_base_hook<> {
  explicit wait_entry(waiter& w) noexcept : sleeper(w) {}
  wait_entry(wait_entry const&) = delete;
  wait_entry& operator=(wait_entry const&) = delete;

  waiter& sleeper;
  std::atomic<bool> orphaned = false;  // taken off its list, which may be gone
};

class waiter : public wait_entry {
 public:
  /// Of the running task, which is what will be woken. `place` must live as long.
  waiter(task_state& task, boost::source_location const& place, on_cancel response = on_cancel::withdraw) noexcept
      : wait_entry(*this), task_(task), place_(place), response_(response) {}

  /// Any thread that may see this waiter. True for exactly one caller, who must then wake the task.
  [[nodiscard]] bool try_claim(claim reason) noexcept {
    if (single_threaded()) {
      if (claim_.load(std::memory_order_relaxed) != claim::none) return false;
      claim_.store(reason, std::memory_order_relaxed);
      return true;
    }
    claim none = claim::none;
    return claim_.compare_exchange_strong(none, reason);
  }
  claim claimed() const noexcept { return claim_.load(std::memory_order_relaxed); }

  task_state& task() const noexcept { return task_; }
  boost::source_location const& place() const noexcept { return place_; }
  on_cancel response() const noexcept { return response_; }

  /// How many exceptions unwind the sleeper's stack: only requests of scopes that were entered since end its wait.
  unsigned unwinding() const noexcept { return unwinding_; }
  void unwinding(unsigned exceptions) noexcept { unwinding_ = exceptions; }

  /// Passes requests on instead of being withdrawn; null: does not.
  awaited_tasks* awaited() const noexcept { return awaited_; }
  void awaited(awaited_tasks& tasks) noexcept { awaited_ = &tasks; }

 private:
  task_state& task_;
  boost::source_location const& place_;
  awaited_tasks* awaited_ = nullptr;
  unsigned unwinding_ = 0;
  std::atomic<claim> claim_ = claim::none;
  on_cancel response_;
};

/// The wait for something that cannot be let go of, such as an operation which uses the sleeper's memory. It may be
/// asked to end soon, and then says itself how it ended.
class told_waiter : public waiter {
 public:
  /// Called for each request, on the sleeper's own thread, while it sleeps. May claim this wait and wake it.
  using function = void (*)(told_waiter&) noexcept;

  told_waiter(task_state& task, boost::source_location const& place, function f) noexcept
      : waiter(task, place, on_cancel::tell), tell(f) {}

  function const tell;
};

}  // namespace fibers::detail
