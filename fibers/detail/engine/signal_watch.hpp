// SPDX-License-Identifier: BSL-1.0
#pragma once

// The first of several signals cancels the main task of a loop.
//
// A signal may arrive on any thread and at any instruction. Its handler only records it, restores the old handlers, and
// rings the loop, which does the rest. One loop at a time may watch a signal. No signal is lost: a signal that does not
// cancel main, for any reason, is raised again with the old handlers.

#include <csignal>
#include <vector>

#include "loop.hpp"

namespace fibers::detail {

class signal_watch {
 public:
  /// Throws std::invalid_argument for a signal that does not exist or cannot be caught, invalid_state_error if another
  /// loop watches one of them.
  signal_watch(std::vector<int> const& signals, class loop& loop, task_state& main);
  ~signal_watch();
  signal_watch(signal_watch const&) = delete;
  signal_watch& operator=(signal_watch const&) = delete;

  /// Restores the previous action of each signal. A signal that was caught but did not cancel main is raised again.
  void main_ended() noexcept;

  /// The signal that has cancelled main; 0: none has.
  int has_cancelled() const noexcept { return has_cancelled_; }

 private:
  static void handle(int signal) noexcept;
  static void raise_again(int signal) noexcept;
  void put_back() noexcept;
  void stop() noexcept;
  void cancel_main();
  bool has_reached_main() noexcept;

  std::vector<int> const signals_;
  class loop& loop_;
  task_state& main_;
  std::vector<struct sigaction> old_;  // one each; the handler reads them
  std::atomic<int> caught_ = 0;
  int has_cancelled_ = 0;
};

}  // namespace fibers::detail
