// SPDX-License-Identifier: BSL-1.0

#include "signal_watch.hpp"

#include <array>
#include <atomic>
#include <fibers/detail/request.hpp>
#include <stdexcept>
#include <string>

namespace fibers::detail {

namespace {
constexpr int signal_limit = 65;  // signals are numbered 1 to 64

// Who watches which signal. Handlers that are under way are counted, and a watch that ends waits for them.
constinit std::array<std::atomic<signal_watch*>, signal_limit> watches = {};
constinit std::atomic<int> handlers = 0;
}  // namespace

signal_watch::signal_watch(std::vector<int> const& signals, class loop& loop, task_state& main)
    : signals_(signals), loop_(loop), main_(main) {
  old_.reserve(signals_.size());
  loop_.on_ring([this] { cancel_main(); });
  for (int const signal : signals_) {
    struct sigaction action = {};
    action.sa_handler = &handle;
    sigemptyset(&action.sa_mask);
    struct sigaction old = {};
    signal_watch* nobody = nullptr;
    bool const known = signal > 0 && signal < signal_limit && signal != SIGKILL && signal != SIGSTOP;
    bool const free = known && watches[static_cast<std::size_t>(signal)].compare_exchange_strong(nobody, this);
    if (!free || ::sigaction(signal, &action, &old) != 0) {
      restore();
      if (!free && known) {
        throw invalid_state_error("fibers: signal " + std::to_string(signal) +
                                  " is in cancel_on_signals of a loop that runs already; let one of them watch it");
      }
      throw std::invalid_argument("fibers: " + std::to_string(signal) +
                                  " in cancel_on_signals is no signal that can be caught; give SIGINT, SIGTERM, …");
    }
    old_.push_back(old);
  }
}

signal_watch::~signal_watch() { restore(); }

void signal_watch::restore() noexcept {
  for (std::size_t i = 0; i < old_.size(); ++i) {
    auto& watch = watches[static_cast<std::size_t>(signals_[i])];
    if (watch.load() != this) continue;
    ::sigaction(signals_[i], &old_[i], nullptr);
    watch.store(nullptr);
  }
  while (handlers.load() != 0) {
  }
  loop_.on_ring({});
}

void signal_watch::handle(int signal) noexcept {
  auto const error = errno;
  handlers.fetch_add(1);
  if (auto* const watch = watches[static_cast<std::size_t>(signal)].load()) {
    int none = 0;
    if (watch->caught_.compare_exchange_strong(none, signal)) {
      for (std::size_t i = 0; i < watch->old_.size(); ++i) ::sigaction(watch->signals_[i], &watch->old_[i], nullptr);
      watch->loop_.ring();
    }
  }
  handlers.fetch_sub(1);
  errno = error;
}

// On the loop's thread.
void signal_watch::cancel_main() {
  if (cancelled_ || caught() == 0) return;
  cancelled_ = true;
  request_cancel(main_, make_request("signal " + std::to_string(caught()), cancel_origin::kind::signal, {}));
}

}  // namespace fibers::detail
