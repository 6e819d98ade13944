// SPDX-License-Identifier: BSL-1.0

#include "signal_watch.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <fibers/detail/engine/request.hpp>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace fibers::detail {

namespace {
constexpr int signal_limit = 65;  // signals are numbered 1 to 64

// The watch of each signal. Running handlers are counted, and a watch that ends waits for them.
constinit std::array<std::atomic<signal_watch*>, signal_limit> watches = {};
constinit std::atomic<int> handlers = 0;

std::atomic<signal_watch*>& watch_of(int signal) noexcept { return watches[static_cast<std::size_t>(signal)]; }
}  // namespace

signal_watch::signal_watch(std::vector<int> const& signals, class loop& loop, task_state& main)
    : signals_(signals), loop_(loop), main_(main) {
  auto const refuse = [](int signal) {
    throw std::invalid_argument("fibers: " + std::to_string(signal) +
                                " in cancel_on_signals is no signal that can be caught; give SIGINT, SIGTERM, …");
  };
  for (int const signal : signals_) {  // all of them, before the first handler may run
    struct sigaction old = {};
    if (::sigaction(signal, nullptr, &old) != 0) refuse(signal);
    old_.push_back(old);
  }
  loop_.expect_signals();
  struct sigaction action = {};
  action.sa_handler = &handle;
  sigemptyset(&action.sa_mask);
  for (int const signal : signals_) {
    signal_watch* watcher = nullptr;
    if (!watch_of(signal).compare_exchange_strong(watcher, this) && watcher != this) {
      stop();
      throw invalid_state_error("fibers: signal " + std::to_string(signal) +
                                " is in cancel_on_signals of a loop that runs already; let one of them watch it");
    }
    if (::sigaction(signal, &action, nullptr) != 0) {
      stop();
      refuse(signal);
    }
  }
  if (caught_.load() != 0) put_back();  // a signal arrived before the handlers of all others were set
  loop_.on_ring([this] { cancel_main(); });
}

signal_watch::~signal_watch() { main_ended(); }

void signal_watch::main_ended() noexcept {
  stop();
  loop_.on_ring({});
  auto const signal = caught_.exchange(0);
  if (signal == 0 || has_reached_main()) return;
  has_cancelled_ = 0;
  ::kill(::getpid(), signal);  // any thread may receive it
}

// Main may have ended before the request, or may have returned before it reached a cancellation point.
bool signal_watch::has_reached_main() noexcept {
  if (has_cancelled_ == 0) return false;
  std::scoped_lock const guard(main_.lock());
  auto const& from_outside = main_.cancels().outermost();
  return from_outside.pending == 0 || from_outside.error.origin().via != cancel_origin::kind::signal;
}

// Keeps handlers that the program itself has set meanwhile.
void signal_watch::put_back() noexcept {
  for (std::size_t i = 0; i < old_.size(); ++i) {
    struct sigaction now = {};
    if (watch_of(signals_[i]).load() != this || ::sigaction(signals_[i], nullptr, &now) != 0) continue;
    if (now.sa_handler == &handle) ::sigaction(signals_[i], &old_[i], nullptr);
  }
}

void signal_watch::stop() noexcept {
  auto const wait_for_handlers = [] {
    while (handlers.load() != 0) {
    }
  };
  put_back();
  wait_for_handlers();  // before another loop may watch these signals
  for (int const signal : signals_) {
    auto* self = this;
    watch_of(signal).compare_exchange_strong(self, nullptr);
  }
  wait_for_handlers();  // a handler may have started meanwhile and found this watch
}

void signal_watch::handle(int signal) noexcept {
  auto const error = errno;
  bool noted = false;
  handlers.fetch_add(1);
  if (auto* const watch = watch_of(signal).load()) {
    int none = 0;
    noted = watch->caught_.compare_exchange_strong(none, signal);
    watch->put_back();
    if (noted) watch->loop_.ring();
  }
  handlers.fetch_sub(1);
  if (!noted) raise_again(signal);  // the watch has caught another signal, or has ended since this one arrived
  errno = error;
}

// For a signal that this handler has received although another handler is already restored.
void signal_watch::raise_again(int signal) noexcept {
  struct sigaction now = {};
  if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != &handle) ::kill(::getpid(), signal);
}

// On the loop's thread.
void signal_watch::cancel_main() {
  auto const signal = caught_.load();
  if (has_cancelled_ != 0 || signal == 0) return;
  auto request = make_request("signal " + std::to_string(signal), cancel_origin::kind::signal, {});
  if (request_cancel(main_, std::move(request))) has_cancelled_ = signal;
}

}  // namespace fibers::detail
