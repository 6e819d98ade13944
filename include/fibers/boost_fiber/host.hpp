// SPDX-License-Identifier: BSL-1.0
#pragma once

// A loop in a Boost.Fiber program.
//
// A loop that shares its thread with Boost fibers parks as one of them: it suspends the Boost fiber that has called
// run(). A busy loop yields to the other Boost fibers every 64 switches.
//
// In a program that includes this header, all loops park in this way from the start. A shared library that includes it,
// such as a plugin, does not decide for the program: there, the loops of a thread park in this way from the start while
// a host lives on that thread, otherwise from the first wait of one of their tasks for a Boost fiber.
//
// Traps of Boost.Fiber, and where they are handled:
//
//   waking takes locks              boost_sleeper holds one only for its flag, so waking never suspends a fiber;
//                                   a signal handler, which may not lock, posts a semaphore of a helper thread
//   a wait with a deadline may      the flag tells whether the sleeper was woken, not the result of the wait
//   swallow a wake-up
//   the waker touches the sleeper's run() does not return before all posting threads have finished (detail/parts/inbox)
//   thread, which may have ended
//   Boost fibers change threads     a loop cannot, and ends the program if it finds itself on another thread
//   under shared_work
//   exceptions being handled are    tasks have their own state (detail/parts/context_switch); the loop, between tasks,
//   kept per thread, up to 1.87     handles none, and leaves the fiber's state unchanged

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
      boost::this_fiber::yield();  // other fibers run, even if this one is always woken beforehand
      guard.lock();
    } else if (deadline == time_point::max()) {
      woken_.wait(guard, is_awake);
    } else {
      woken_.wait_until(guard, deadline, is_awake);
    }
    awake_ = false;
  }

  /// Returns whether wake() was called since the latest sleep(). Thread-safe.
  bool awake() {
    std::scoped_lock const guard(mutex_);
    return awake_;
  }

  /// Wakes the Boost fiber. Does not suspend. Thread-safe.
  void wake() noexcept {
    {
      std::scoped_lock const guard(mutex_);
      if (std::exchange(awake_, true)) return;
    }
    woken_.notify_one();
  }

 private:
  std::mutex mutex_;  // never held where a Boost fiber may be suspended
  boost::fibers::condition_variable_any woken_;
  bool awake_ = false;
};

/// Wakes a loop on behalf of a signal handler, by a thread, since the wake-up is not async-signal-safe.
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

/// The Boost fibers that wait for futures on behalf of the tasks of a loop: one for each future. Thread-safe.
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
  /// Removes the watch if `may_go` returns true. Calls `may_go` under the lock of find().
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
  /// In virtual time, ready Boost fibers take no time, as tasks; tasks await later work by an outside wait. The number
  /// of turns is limited, since some Boost fibers poll for an event that only time brings.
  bool busy() override {
    constexpr int turns_enough = 200;
    for (int turn = 0; turn < turns_enough && !sleeper_.awake(); ++turn) poll();
    return false;
  }

  /// The factory for parker_source.
  static std::unique_ptr<parker> make() { return std::make_unique<boost_host>(); }

  /// Returns the parker of this thread's loop; installs it if there is none. Throws invalid_state_error.
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

  /// Starts a Boost fiber with a small stack for `body` on this thread. Does not suspend.
  template <class Body>
  static void start(Body body) {
    boost::fibers::fiber(boost::fibers::launch::post, std::move(body)).detach();
  }
  /// As start(), for user code: with the stack size of a task, and a guard page.
  template <class Body>
  static void start_guarded(Body body) {
    boost::fibers::protected_fixedsize_stack stack(run_options{}.stack_size);
    boost::fibers::fiber(boost::fibers::launch::post, std::allocator_arg, stack, std::move(body)).detach();
  }

  std::shared_ptr<boost_future_watches> const& future_watches() const noexcept { return future_watches_; }

 private:
  template <class Stop>
  void let_others_run(Stop stop) {
    bool const is_loop = loop_is_here();  // otherwise a Boost fiber that waits for a task, and may be moved
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
  std::optional<boost_bell> bell_;            // destroyed first: its thread wakes this parker
};

inline program_parker_source const loops_sleep_as_boost_fibers(&boost_host::make);

}  // namespace fibers::detail

namespace fibers::boost_fiber {

/// For shared libraries: while it lives, the loops of this thread share the thread with its Boost fibers, as all loops
/// do in a program whose own sources include this header.
///
/// fibers::run() then suspends only the calling Boost fiber, and so does the destructor of a task. Precondition: hosts
/// are created and destroyed by the same thread, outside of tasks, in any order. Does not suspend. Does not throw.
class host {
 public:
  host() noexcept : source_(&detail::boost_host::make) {}

 private:
  detail::parker_source const source_;
};

}  // namespace fibers::boost_fiber
