// SPDX-License-Identifier: BSL-1.0
#pragma once

// A loop in a Boost.Fiber program.
//
// A loop that shares its thread with Boost fibers parks as one of them: it suspends the Boost fiber that has called
// run(). A busy loop yields to the other Boost fibers every 64 switches.
//
// In a program that includes this header, all loops do so from their beginning. A shared library that includes it, such
// as a plugin, does not decide that for the program: there the loops of a thread do so from their beginning while a
// host lives on that thread, otherwise from the first time that one of their tasks waits for a Boost fiber.
//
// Traps of Boost.Fiber, and where they are handled:
//
//   waking takes locks              boost_sleeper holds one only for its flag, so that waking never stops a fiber; from
//                                   a signal handler, where nothing of this is allowed, a thread is asked to do it
//   a wait with a deadline may      the flag says whether it was woken, not what the wait returns
//   swallow a wake-up
//   who wakes touches the sleeper's run() does not return before all that have posted are through (detail/parts/inbox)
//   thread after it may have ended
//   Boost fibers change threads     a loop cannot, and ends the program if it finds itself on another one
//   under shared_work
//   exceptions being handled are    tasks have their own state (detail/parts/context_switch), and the loop, between
//   tasks, has none: kept per thread, up to 1.87     so it leaves what it finds

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include <atomic>
#include <boost/assert/source_location.hpp>
#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/context.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>
#include <boost/fiber/protected_fixedsize_stack.hpp>
#include <cstdio>
#include <cstdlib>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/this_loop.hpp>
#include <fibers/detail/parts/parker.hpp>
#include <fibers/error.hpp>
#include <fibers/run.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace fibers::detail {

/// Suspends one Boost fiber until it is woken.
class boost_sleeper {
 public:
  /// Suspends the calling Boost fiber until wake(), which may have been called before, or until `deadline`.
  void sleep(time_point deadline) {
    std::unique_lock guard(mutex_);
    auto const is_awake = [this] { return awake_; };
    if (awake_) {
      guard.unlock();
      boost::this_fiber::yield();  // others have their turn, also when one is always woken before
      guard.lock();
    } else if (deadline == time_point::max()) {
      woken_.wait(guard, is_awake);
    } else {
      woken_.wait_until(guard, deadline, is_awake);
    }
    awake_ = false;
  }

  /// Returns whether it was woken and has not slept since. Thread-safe.
  bool awake() {
    std::scoped_lock const guard(mutex_);
    return awake_;
  }

  /// Does not suspend. Thread-safe.
  void wake() noexcept {
    {
      std::scoped_lock const guard(mutex_);
      if (std::exchange(awake_, true)) return;
    }
    woken_.notify_one();
  }

 private:
  std::mutex mutex_;  // never held where a Boost fiber may stop
  boost::fibers::condition_variable_any woken_;
  bool awake_ = false;
};

/// Wakes a loop on behalf of a signal handler, which cannot do that itself.
class boost_bell {
 public:
  explicit boost_bell(parker& p) {
    ::sem_init(&rung_, 0, 0);
    sigset_t all, old;  // the handlers run on the program's own threads
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      thread_ = std::thread([this, &p] {
        while (wait()) p.unpark();
      });
    } catch (...) {
      ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
      ::sem_destroy(&rung_);
      throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }
  boost_bell(boost_bell const&) = delete;
  boost_bell& operator=(boost_bell const&) = delete;
  ~boost_bell() {
    over_.store(true);
    ring();
    thread_.join();
    ::sem_destroy(&rung_);
  }

  /// Async-signal-safe.
  void ring() noexcept { ::sem_post(&rung_); }

 private:
  bool wait() noexcept {
    while (::sem_wait(&rung_) != 0) {
    }
    return !over_.load();
  }

  sem_t rung_;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

class boost_future_watch;

/// The Boost fibers that wait for futures on behalf of the tasks of a loop, one for each future. Thread-safe.
class boost_future_watches {
 public:
  std::shared_ptr<boost_future_watch> find(void const* future) const {
    std::scoped_lock const guard(mutex_);
    auto const found = watches_.find(future);
    return found != watches_.end() ? found->second : nullptr;
  }
  void add(void const* future, std::shared_ptr<boost_future_watch> watch) {
    std::scoped_lock const guard(mutex_);
    watches_.emplace(future, std::move(watch));
  }
  void remove(void const* future) noexcept {
    std::scoped_lock const guard(mutex_);
    watches_.erase(future);
  }
  /// Removes it if `may_go` returns true, under the lock with which it is found.
  template <class MayGo>
  bool remove_if(void const* future, MayGo may_go) noexcept {
    std::scoped_lock const guard(mutex_);
    bool const goes = may_go();
    if (goes) watches_.erase(future);
    return goes;
  }

 private:
  std::mutex mutable mutex_;
  std::map<void const*, std::shared_ptr<boost_future_watch>> watches_;
};

/// The Boost fiber on which a loop runs.
class boost_host final : public parker {
 public:
  boost_host() : parker(parker_kind::boost_fiber) {}

  void park(time_point deadline) override {
    let_others_run([&] { sleeper_.sleep(deadline); });
  }
  void unpark() noexcept override { sleeper_.wake(); }
  void expect_signals() override { bell_.emplace(*this); }
  void unpark_from_signal() noexcept override { bell_->ring(); }
  void poll() override {
    let_others_run([] { boost::this_fiber::yield(); });
  }
  /// What Boost fibers do now takes no time, as with tasks; what they do later comes by a wait for outside. But some
  /// only look again and again for what time must bring.
  bool busy() override {
    constexpr int turns_enough = 200;
    for (int turn = 0; turn < turns_enough && !sleeper_.awake(); ++turn) poll();
    return false;
  }

  /// For parker_source.
  static std::unique_ptr<parker> make() { return std::make_unique<boost_host>(); }

  /// Returns the parker of this thread's loop, which is installed if there was none.
  static boost_host& here(boost::source_location const& place) {
    auto* const chosen = chosen_parker(place);
    if (chosen == nullptr) {
      auto made = std::make_unique<boost_host>();
      auto& host = *made;
      host.beside_loop_.emplace(&make);
      choose_parker(std::move(made));
      return host;
    }
    if (chosen->kind() == parker_kind::boost_fiber) return static_cast<boost_host&>(*chosen);
    throw invalid_state_error(
        "fibers: this loop sleeps in an io_context or in a way of its own, and no Boost fiber can run beside it: wait "
        "for Boost fibers in a loop that was begun by fibers::run() and has not called fibers::io_context() (" +
        detail::to_string(place) + ")");
  }

  /// Runs `body` soon, on a Boost fiber of its own with a small stack, on this thread.
  template <class Body>
  static void start(Body body) {
    boost::fibers::fiber(boost::fibers::launch::post, std::move(body)).detach();
  }
  /// The same for user code: with the stack size of a task, and a guard.
  template <class Body>
  static void start_guarded(Body body) {
    boost::fibers::protected_fixedsize_stack stack(run_options{}.stack_size);
    boost::fibers::fiber(boost::fibers::launch::post, std::allocator_arg, stack, std::move(body)).detach();
  }

  std::shared_ptr<boost_future_watches> const& future_watches() const noexcept { return future_watches_; }

 private:
  template <class Stop>
  void let_others_run(Stop stop) {
    bool const is_loop = loop_is_here();  // else just a Boost fiber that waits for a task, and may be moved
    loop_absence const absent;
    stop();
    if (!is_loop || boost::fibers::context::active()->get_scheduler() == home_) [[likely]]
      return;
    std::fputs(
        "fibers: the Boost fiber that called fibers::run() was moved to another thread, which tasks cannot bear; call "
        "run() on the thread's main fiber, or do without shared_work and work_stealing on this thread\n",
        stderr);
    std::abort();
  }

  boost::fibers::scheduler* const home_ = boost::fibers::context::active()->get_scheduler();
  std::shared_ptr<boost_future_watches> const future_watches_ = std::make_shared<boost_future_watches>();
  boost_sleeper sleeper_;
  std::optional<parker_source> beside_loop_;  // for Boost fibers of its thread that wait for tasks
  std::optional<boost_bell> bell_;            // destroyed first: it wakes us
};

inline program_parker_source const loops_sleep_as_boost_fibers(&boost_host::make);

}  // namespace fibers::detail

namespace fibers::boost_fiber {

/// For shared libraries: during its life the loops of this thread share the thread with its Boost fibers, as all loops
/// do in a program whose own sources include this header. fibers::run() then suspends only the calling Boost fiber, and
/// so does the destructor of a task.
///
/// Created and destroyed by the same thread, outside of tasks, in any order. Does not suspend. Does not throw.
class host {
 public:
  host() noexcept : source_(&detail::boost_host::make) {}

 private:
  detail::parker_source const source_;
};

}  // namespace fibers::boost_fiber
