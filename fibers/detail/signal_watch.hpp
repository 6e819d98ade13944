// SPDX-License-Identifier: BSL-1.0
#pragma once

// The first of some signals cancels the main task of a loop.
//
// A signal may come on any thread and at any instruction, so its handler only notes it, puts the old handlers back, and
// rings the loop, which does the rest. One loop at a time may watch a signal.

#include <csignal>
#include <vector>

#include "loop.hpp"

namespace fibers::detail {

class signal_watch {
 public:
  /// Throws std::invalid_argument for what is no signal or cannot be caught, invalid_state_error if another loop
  /// watches one of them.
  signal_watch(std::vector<int> const& signals, class loop& loop, task_state& main);
  ~signal_watch();
  signal_watch(signal_watch const&) = delete;
  signal_watch& operator=(signal_watch const&) = delete;

  /// The signal that came; 0: none did. (Also while it has not cancelled main yet.)
  int caught() const noexcept { return caught_.load(); }

 private:
  static void handle(int signal) noexcept;
  void cancel_main();
  void restore() noexcept;

  std::vector<int> const signals_;
  class loop& loop_;
  task_state& main_;
  std::vector<struct sigaction> old_;  // one each
  std::atomic<int> caught_ = 0;
  bool cancelled_ = false;
};

}  // namespace fibers::detail
