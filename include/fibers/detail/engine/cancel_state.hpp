// SPDX-License-Identifier: BSL-1.0
#pragma once

// The cancellation requests of one task: how many were made, by which party, and which of them are pending.
//
//   none --post--> pending --reserve--> reserved --deliver--> none      (reserved --put_back--> pending)
//                     '---- the scope is left, or uncancel to 0 ---> none
//
// A party is a cancel_scope: a timeout or a group for its own request, or the base of a frame for all requests from
// outside. A scope knows whether its own request is pending, so a scope that is left withdraws exactly its own. Pending
// requests are delivered together, as one cancelled_error, that of the outermost scope. Delivery is edge-triggered:
// clean-up then waits undisturbed until a further request arrives.
//
// A shield opens a frame, and only the innermost frame delivers. A scope's request is recorded in the frame in which
// the scope was entered; a request from outside in the outermost frame.
//
// While an exception unwinds the stack, another exception must not leave the destructor that runs. A request is
// therefore delivered only if its scope was entered since that unwinding began, and thus catches it.
//
// Guarded by the task's lock, except deliverable() and count(). The stack of scopes belongs to the task's own thread;
// another thread only reads the scopes of stop tokens, whose outer scopes never change.
//
// Next: request.hpp, which says when these are called.

#include <cstddef>
#include <cstdint>
#include <fibers/detail/engine/stop_token_list.hpp>
#include <fibers/detail/parts/atomic.hpp>
#include <fibers/error.hpp>
#include <stop_token>

namespace fibers::detail {

/// A party that requests cancellation: a timeout or a group of the task itself, or the base of a frame.
/// Entered and left in LIFO order.
struct cancel_scope {
  cancel_scope() noexcept = default;
  cancel_scope(cancel_scope const&) = delete;
  cancel_scope& operator=(cancel_scope const&) = delete;

  cancel_scope* outer = nullptr;   // in the same frame; null: this is the base
  cancelled_error error = {};      // of the latest request
  unsigned level = 0;              // the frame's count at entry, without pending requests
  unsigned pending = 0;            // own requests that are not delivered yet
  std::uint32_t delivered_at = 0;  // number of the latest delivery of an own request; 0: none
  std::uint16_t unwinding = 0;     // exceptions that were unwinding the stack at entry
  bool requested : 1 = false;      // was there any request?
  bool by_itself : 1 = false;      // did the task itself make one of the pending requests?
  bool has_token : 1 = false;      // was a stop token taken in this scope? Written by the task's own thread
  bool counts_bytes : 1 = false;   // is this a byte_counting_scope?
};

/// A scope that records how many bytes an operation had moved before the scope's request cancelled it.
struct byte_counting_scope : cancel_scope {
  byte_counting_scope() noexcept { counts_bytes = true; }

  std::size_t transferred = 0;
};

/// The region between two shields: its base, for all requests from outside, and the scopes in it.
struct cancel_frame : cancel_scope {
  bool reserved : 1 = false;  // a wait was withdrawn, and throws the pending requests once the task runs
  bool ended : 1 = false;     // the error is the task's outcome
  cancel_frame* outer_frame = nullptr;
  cancel_scope* innermost = this;
  unsigned count = 0;        // requests less uncancel() calls
  unsigned pending_all = 0;  // of all its scopes
};

class cancel_state {
 public:
  cancel_state() = default;
  cancel_state(cancel_state const&) = delete;
  cancel_state& operator=(cancel_state const&) = delete;

  /// Is a request pending in the innermost frame? Without the lock, so the answer may be out of date while another
  /// thread makes a request; that thread then also wakes the task.
  bool deliverable() const noexcept { return (summary_.load(std::memory_order_relaxed) & 1) != 0; }
  /// As deliverable(), for a task whose stack so many exceptions are unwinding. Under lock.
  bool deliverable(unsigned unwinding) const noexcept;
  /// Of all frames. Without the lock.
  unsigned count() const noexcept { return summary_.load(std::memory_order_relaxed) >> 1; }

  cancel_frame& outermost() noexcept { return outermost_; }
  cancel_frame& innermost() noexcept { return *innermost_; }

  /// Enters a scope in the innermost frame. Own thread.
  void enter(cancel_scope& scope, unsigned unwinding) noexcept {
    scope.outer = innermost_->innermost;
    scope.unwinding = static_cast<std::uint16_t>(unwinding);
    scope.level = innermost_->count - innermost_->pending_all;
    innermost_->innermost = &scope;
  }
  /// Leaves the innermost scope without the lock. Returns false, without effect, if that needs leave(). Own thread.
  [[nodiscard]] bool leave_quietly(cancel_scope& scope) noexcept {
    if (scope.requested || scope.has_token) return false;
    innermost_->innermost = scope.outer;
    return true;
  }
  /// Leaves the innermost scope and withdraws its request, delivered or not. Returns whether a cancelled_error that
  /// leaves it now is due to its own request only: no request that can be delivered here has arrived since its entry.
  bool leave(cancel_scope& scope) noexcept;

  /// Records a request of this scope; of a frame's base if it comes from outside.
  void post(cancel_scope& scope, cancelled_error&& error, bool by_itself = false) noexcept;

  /// The wait of the suspended task was withdrawn: the task owes the delivery of the pending requests once it runs.
  void reserve() noexcept;
  /// Makes the reserved requests pending again: the wait had completed after all.
  void put_back() noexcept;

  /// Delivers the requests that may be delivered while so many exceptions unwind the stack. The caller throws the
  /// result.
  cancelled_error deliver(unsigned unwinding = 0) noexcept;
  /// The number of deliveries, as an argument of restore().
  std::uint32_t deliveries() const noexcept { return deliveries_; }
  /// Records how many bytes the operation had moved that the latest delivery cancelled. Own thread, without the lock.
  void transferred(std::size_t bytes) noexcept;

  enum class message : bool { forget, keep };
  /// Makes requests pending again that were delivered since then to scopes not left yet.
  void restore(std::uint32_t deliveries_before, message text = message::keep) noexcept;

  /// Lowers the count of the innermost frame whose count is not 0; at 0 pending requests are dropped. Returns the
  /// remaining count of all frames.
  unsigned uncancel() noexcept;

  /// Has the task cancelled itself, and not reached a suspension point since?
  bool cancelled_itself() const noexcept { return outermost_.pending > 0 && outermost_.by_itself; }

  /// Stores the error as the task's outcome.
  void end_with(cancelled_error const& error) noexcept;
  cancelled_error const& ended_with() const noexcept { return outermost_.error; }

  void open(cancel_frame& shield, unsigned unwinding) noexcept;
  void close(cancel_frame& shield) noexcept;

  /// A token that is stopped once a request can be delivered to the innermost scope; at once if one was delivered since
  /// the scope was entered and was not withdrawn. Throws std::bad_alloc.
  std::stop_token stop_token();
  bool has_tokens() const noexcept { return !tokens_.empty(); }
  /// Takes out the source of a token that the caller must stop after releasing the lock. Has no state if there is none.
  std::stop_source next_to_stop() noexcept;

  /// The latest cancel_round that has reached this task: each asks a task once.
  std::uint64_t round = 0;

 private:
  // Must follow every change of what deliverable() and count() return.
  void changed(int change_of_count = 0) noexcept {
    auto const count_of_all = count() + static_cast<unsigned>(change_of_count);
    bool const may_deliver = innermost_->pending_all > 0 && !innermost_->reserved;
    summary_.store((count_of_all << 1) | unsigned(may_deliver), std::memory_order_relaxed);
  }
  static cancel_frame& frame_of(cancel_scope& scope) noexcept;
  static bool has_pending(cancel_scope const& scope) noexcept;
  /// Returns the change of the count.
  static int lower(cancel_frame& frame) noexcept;
  static void drop(cancel_frame& frame, cancel_scope& scope, unsigned requests) noexcept;
  void forget_token(cancel_scope& scope) noexcept;

  cancel_frame outermost_;
  cancel_frame* innermost_ = &outermost_;
  stop_token_list tokens_;
  std::uint32_t deliveries_ = 0;
  atomic<unsigned> summary_ = 0;  // the count of all frames, and in the lowest bit: deliverable()
};

}  // namespace fibers::detail
