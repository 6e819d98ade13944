// SPDX-License-Identifier: BSL-1.0
#pragma once

// The requests to cancel one task: how many there are, and whether one waits to be thrown.
//
//   none --request--> pending --take--> taken --thrown--> none      (taken --put back--> pending)
//                        '---------- uncancel to 0 -----> none
//
// A request that meets one which is pending or taken only raises the count: they are thrown as one. So a request is
// thrown once, and clean-up may then wait undisturbed.
//
// A shield opens a new frame. A request goes to the frame of the scope that made it: the outermost if it comes from
// outside, else the one in which the timeout or group was entered. Only the innermost frame is served: what goes to
// an outer one waits there until the shields around it are gone. Levels are counted per frame, so that a scope inside a
// shield does not see what waits outside.
//
// While an exception unwinds the stack, another one that came out of it would end the program: then nothing is thrown,
// save to a scope inside a shield that was opened since, which is what catches it.
//
// Guarded by the lock of the task; deliverable() and count() may be asked without it.

#include <atomic>
#include <cstdint>
#include <fibers/error.hpp>

namespace fibers::detail {

enum class request_stage : std::uint8_t { none, pending, taken };

struct cancel_frame {
  cancel_frame* outer = nullptr;
  unsigned unwinding = 0;  // how many exceptions were unwinding the stack when it was opened
  unsigned count = 0;      // requests not taken back by uncancel
  unsigned fresh = 0;      // those of them that were not thrown yet: at most one batch, of which one is thrown
  request_stage stage = request_stage::none;
  cancelled_error error = {};  // what is, or will be, thrown
};

class cancel_state {
 public:
  cancel_state() = default;
  cancel_state(cancel_state const&) = delete;
  cancel_state& operator=(cancel_state const&) = delete;

  /// Is there a request that the next suspension point should throw? Without the lock: the answer may be old if another
  /// thread is just asking; that thread will then also wake the task.
  bool deliverable() const noexcept { return deliverable_.load(std::memory_order_relaxed); }
  unsigned count() const noexcept { return count_.load(std::memory_order_relaxed); }

  cancel_frame& outermost() noexcept { return outermost_; }
  cancel_frame& innermost() noexcept { return *innermost_; }

  /// A scope's request goes to its frame, one from outside to the outermost.
  void request(cancel_frame& frame, cancelled_error error) noexcept;

  /// Taken for a task that is suspended: its wait was withdrawn, and it will throw this once it runs.
  void take() noexcept;

  /// What a scope that is entered now measures itself against: what was asked for and thrown before.
  unsigned level() const noexcept { return innermost_->count - innermost_->fresh; }

  /// What was taken is pending again: the wait had what it waited for after all.
  void put_back() noexcept;

  /// Spends the request that is pending or taken, which is thrown now, or passed on to a task that is waited for.
  cancelled_error deliver() noexcept;

  /// Lowers the count of `frame`, never below 0; at 0 a pending request is dropped. Returns what is left there.
  unsigned uncancel(cancel_frame& frame) noexcept;

  /// uncancel() for the innermost frame that has a count. Returns what is left in all.
  unsigned uncancel() noexcept;

  /// Makes a request pending that was counted already, unless one is.
  void rearm(cancelled_error error) noexcept;

  void open(cancel_frame& shield) noexcept;
  void close(cancel_frame& shield) noexcept;

 private:
  void changed() noexcept {
    deliverable_.store(innermost_->stage == request_stage::pending, std::memory_order_relaxed);
  }

  cancel_frame outermost_;
  cancel_frame* innermost_ = &outermost_;
  std::atomic<unsigned> count_ = 0;  // of all frames
  std::atomic<bool> deliverable_ = false;
};

}  // namespace fibers::detail
