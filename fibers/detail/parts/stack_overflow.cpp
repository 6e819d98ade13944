// SPDX-License-Identifier: BSL-1.0
#include "stack_overflow.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <system_error>
#include <utility>

namespace fibers::detail {
namespace {

constexpr std::size_t alternate_size = 64 * 1024;

// The handler reads these, so they need no constructor; the model keeps the loader from allocating them at first use.
#define FIBERS_READ_BY_HANDLER [[gnu::tls_model("initial-exec")]] constinit thread_local
FIBERS_READ_BY_HANDLER overflow_watch* watches = nullptr;
#undef FIBERS_READ_BY_HANDLER

constinit thread_local std::byte* alternate = nullptr;  // the handler's stack, if we allocated it

struct watched_signal {
  int number;
  bool installed;           // stays true after the last watch if a later handler, which may call ours, is installed
  struct sigaction before;  // written only while ours is not installed
};

constinit std::mutex mutex;  // orders watches of several threads; the handler takes no lock
constinit std::size_t watch_count = 0;
constinit std::array<watched_signal, 2> signals{{{SIGSEGV, false, {}}, {SIGBUS, false, {}}}};

class message {  // snprintf may allocate
 public:
  message& operator<<(std::string_view text) noexcept {
    size_ += text.copy(buffer_.data() + size_, buffer_.size() - size_);
    return *this;
  }
  message& operator<<(std::size_t number) noexcept {
    std::array<char, 20> digits;
    auto* const end = std::to_chars(digits.begin(), digits.end(), number).ptr;
    return *this << std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data()));
  }
  void write() const noexcept { [[maybe_unused]] auto const ignored = ::write(STDERR_FILENO, buffer_.data(), size_); }

 private:
  std::array<char, 768> buffer_;
  std::size_t size_ = 0;
};

}  // namespace

// on_fault() and all that it calls are async-signal-safe.
struct fault_handler {
  static void on_fault(int number, siginfo_t* info, void* context) {
    bool const sent = info->si_code <= 0;  // by kill() or raise(): no instruction faulted
    for (auto const* watch = sent ? nullptr : watches; watch != nullptr; watch = watch->next_) {
      if (watch->pool_.is_guard(info->si_addr)) report(*watch);
    }
    pass_on(number, info, context, sent);
  }

  [[noreturn]] static void report(overflow_watch const& watch) {
    std::array<char, 512> who{"a task"};
    if (watch.describe_ != nullptr) watch.describe_(who.data(), who.size());
    who.back() = '\0';
    message text;
    text << "fibers: " << who.data() << " overflowed its " << watch.pool_.stack_size() / 1024
         << " KiB stack; raise run_options::stack_size, keep large objects off the stack, or make the "
            "recursion shallower\n";
    text.write();
    std::abort();
  }

  // Forwards the signal to the previous action.
  static void pass_on(int number, siginfo_t* info, void* context, bool sent) {
    auto const& before = signals[number == signals[0].number ? 0 : 1].before;
    if (before.sa_handler == SIG_IGN && sent) return;
    if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
      ::signal(number, SIG_DFL);  // the instruction faults again, so that a core shows the real fault
      if (sent) ::raise(number);
      return;
    }
    if ((before.sa_flags & only_once) != 0) ::signal(number, SIG_DFL);
    if ((before.sa_flags & SA_SIGINFO) != 0) {
      before.sa_sigaction(number, info, context);
    } else {
      before.sa_handler(number);
    }
  }

  static void install(watched_signal& signal) {
    struct sigaction action {};
    ::sigaction(signal.number, nullptr, &action);
    bool const default_action = action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN;
    if (signal.installed && !default_action) return;  // two handlers might otherwise forward to each other forever
    signal.before = action;
    // Keeps the mask and SA_NODEFER of the previous handler, which we may have to call.
    action.sa_sigaction = on_fault;
    action.sa_flags = (action.sa_flags & ~only_once) | SA_SIGINFO | SA_ONSTACK;
    signal.installed = ::sigaction(signal.number, &action, nullptr) == 0;
  }

  static void remove(watched_signal& signal) {
    struct sigaction action {};
    ::sigaction(signal.number, nullptr, &action);
    if ((action.sa_flags & SA_SIGINFO) == 0 || action.sa_sigaction != on_fault) return;
    ::sigaction(signal.number, &signal.before, nullptr);
    signal.installed = false;
  }

  static constexpr int only_once = static_cast<int>(SA_RESETHAND);
};

namespace {

// A handler cannot run on the exhausted stack. An alternate stack that is already set is used as it is.
void set_alternate_stack() {
  stack_t now{};
  ::sigaltstack(nullptr, &now);
  if ((now.ss_flags & SS_DISABLE) == 0) return;
  alternate = new std::byte[alternate_size];
  now = {.ss_sp = alternate, .ss_flags = 0, .ss_size = alternate_size};
  if (::sigaltstack(&now, nullptr) == 0) return;
  auto const error = errno;
  delete[] std::exchange(alternate, nullptr);
  throw std::system_error(error, std::generic_category(), "fibers: sigaltstack");
}

void reset_alternate_stack() noexcept {
  stack_t now{};
  ::sigaltstack(nullptr, &now);
  if (now.ss_sp == alternate) {
    now.ss_flags = SS_DISABLE;
    ::sigaltstack(&now, nullptr);
  }
  delete[] std::exchange(alternate, nullptr);
}

}  // namespace

overflow_watch::overflow_watch(stack_pool const& pool, describe_function describe)
    : pool_{pool}, describe_{describe}, next_{watches} {
  if (watches == nullptr) set_alternate_stack();
  std::atomic_signal_fence(std::memory_order_release);  // complete before the handler can see it
  watches = this;
  std::scoped_lock const lock{mutex};
  if (watch_count++ == 0) std::for_each(signals.begin(), signals.end(), fault_handler::install);
}

overflow_watch::~overflow_watch() {
  {
    std::scoped_lock const lock{mutex};
    if (--watch_count == 0) std::for_each(signals.begin(), signals.end(), fault_handler::remove);
  }
  auto** place = &watches;
  while (*place != this) place = &(*place)->next_;
  *place = next_;
  if (watches == nullptr && alternate != nullptr) reset_alternate_stack();
}

}  // namespace fibers::detail
