// SPDX-License-Identifier: BSL-1.0
#pragma once

// A loop that parks in an io_context of Boost.Asio.
//
// The first call of io_context() creates one for the loop; until then there is no cost. From then on an idle loop parks
// in Asio. After each wake-up, the loop runs the ready handlers, and then the tasks that these have woken. A busy loop
// polls for handlers after a number of switches.
//
// A bell wakes the loop: an eventfd for other threads, and a timerfd for the loop's deadlines, both registered in the
// io_context. (Asio's own waits with a deadline wake up each second without need, and are late by up to 1 ms.) With a
// user's io_context, a handler may run after the loop has ended; therefore the loop and its handlers share the bell.

#include <cxxabi.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list.hpp>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <fibers/clock.hpp>
#include <fibers/detail/engine/this_loop.hpp>
#include <fibers/detail/parts/parker.hpp>
#include <fibers/error.hpp>
#include <fibers/run.hpp>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace fibers {

namespace detail {

/// Ends a loop's wait in an io_context, by a ring or at a deadline.
class asio_bell : public std::enable_shared_from_this<asio_bell>,
                  public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  explicit asio_bell(boost::asio::io_context& context)
      : ring_number_(open_ring()), ring_(context, ring_number_), alarm_(context, open_alarm()) {}

  /// Ends the present wait, or the next one. Thread-safe and async-signal-safe.
  void ring() noexcept {
    if (!rung_.exchange(true)) write_ring();
  }

  /// Ends the next wait in the io_context at `deadline` or, spuriously, once before. Sets the timer only if `deadline`
  /// is earlier than the timer's: most deadlines are withdrawn in time, and the next one is later.
  void alarm_at(time_point deadline) noexcept {
    if (deadline >= alarm_at_) return;
    alarm_at_ = deadline;
    set_alarm();
  }

  /// Starts to listen for rings and alarms, until stop().
  void listen() {
    listening_ = true;
    hear_rings();
    hear_alarms();
  }
  void stop() {
    listening_ = false;
    boost::system::error_code ignored;
    ring_.cancel(ignored);
    alarm_.cancel(ignored);
  }
  void close() noexcept {
    listening_ = false;
    boost::system::error_code ignored;
    ring_.close(ignored);
    alarm_.close(ignored);
  }

  /// Called in the child of a fork: opens new descriptors, since the old ones are shared with the parent.
  void reopen() {
    if (!ring_.is_open()) return;
    boost::system::error_code ignored;
    int const ring = open_ring();
    ring_number_.store(ring);  // before the old one is closed: a signal handler may ring now
    ring_.close(ignored);      // ends its read, and the handler begins the next one
    ring_.assign(ring);
    rung_.store(true);  // a ring in the parent just before the fork is meant for the child, too
    write_ring();
    alarm_.close(ignored);
    alarm_.assign(open_alarm());
    if (alarm_at_ != time_point::max()) set_alarm();
  }

 private:
  void hear_rings() {
    ring_.async_read_some(boost::asio::buffer(&rings_, sizeof rings_),
                          [self = shared_from_this()](boost::system::error_code const&, std::size_t) {
                            self->rung_.store(false);
                            if (self->listening_) self->hear_rings();
                          });
  }
  void hear_alarms() {
    alarm_.async_read_some(boost::asio::buffer(&alarms_, sizeof alarms_),
                           [self = shared_from_this()](boost::system::error_code const& error, std::size_t) {
                             if (!error) self->alarm_at_ = time_point::max();
                             if (self->listening_) self->hear_alarms();
                           });
  }
  void write_ring() noexcept {
    std::uint64_t const once = 1;
    [[maybe_unused]] auto const written = ::write(ring_number_.load(), &once, sizeof once);
  }
  void set_alarm() noexcept {
    itimerspec const once{.it_interval = {}, .it_value = to_timespec(alarm_at_)};
    ::timerfd_settime(alarm_.native_handle(), TFD_TIMER_ABSTIME, &once, nullptr);
  }
  static int open_ring() { return checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "fibers: eventfd"); }
  static int open_alarm() {
    return checked(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "fibers: timerfd_create");
  }
  static int checked(int descriptor, char const* what) {
    if (descriptor < 0) throw std::system_error(errno, std::generic_category(), what);
    return descriptor;
  }

  std::atomic<int> ring_number_;
  std::atomic<bool> rung_ = false;  // a ring is pending, so others need no write
  bool listening_ = false;
  std::uint64_t rings_ = 0, alarms_ = 0;
  time_point alarm_at_ = time_point::max();
  boost::asio::posix::stream_descriptor ring_, alarm_;
};

/// Notifies the bells in an io_context of a fork. A shared library with hidden symbols has a service of its own, for
/// the bells that the library creates.
class asio_bells final : public boost::asio::execution_context::service {
 public:
  using key_type = asio_bells;
  static inline boost::asio::execution_context::id id = {};

  explicit asio_bells(boost::asio::execution_context& context) : service(context) {}

  void add(asio_bell& bell) noexcept { bells_.push_back(bell); }

 private:
  void shutdown() override {}
  // Asio notifies the older reactor first, so the child's reactor no longer shares descriptors with the parent's.
  void notify_fork(boost::asio::execution_context::fork_event event) override {
    if (event != boost::asio::execution_context::fork_child) return;
    for (auto& bell : bells_) bell.reopen();
  }

  boost::intrusive::list<asio_bell, boost::intrusive::constant_time_size<false>> bells_;
};

/// An operation that was asked to abort and has not ended. A composed operation misses a request that arrives between
/// two of its parts; therefore the request is repeated.
struct asio_told_operation
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  void (*again)(asio_told_operation&) noexcept = nullptr;
};

class asio_parker final : public parker {
 public:
  asio_parker() : parker(parker_kind::asio), own_(std::in_place, 1), context_(*own_) { begin(); }  // one thread runs it
  explicit asio_parker(boost::asio::io_context& users) : parker(parker_kind::asio), context_(users) { begin(); }
  ~asio_parker() override {
    bell_->close();
    ++*fences_;
  }

  /// Returns the parker of this thread's loop; null if the loop parks in another way.
  static asio_parker* here() noexcept { return of(chosen_parker()); }
  static asio_parker* of(parker* chosen) noexcept {
    return chosen != nullptr && chosen->kind() == parker_kind::asio ? static_cast<asio_parker*>(chosen) : nullptr;
  }

  /// Repeats the operation's abort request after each run of handlers, until the operation is unlinked.
  void keep_telling(asio_told_operation& operation) noexcept { told_.push_back(operation); }

  /// The loop's operations reuse signals, since a signal keeps the memory of its slot.
  std::unique_ptr<boost::asio::cancellation_signal> take_signal() noexcept {
    if (signals_.empty()) return nullptr;
    auto taken = std::move(signals_.back());
    signals_.pop_back();
    return taken;
  }
  void keep_signal(std::unique_ptr<boost::asio::cancellation_signal> signal) { signals_.push_back(std::move(signal)); }

  boost::asio::io_context& context() noexcept { return context_; }

  void park(time_point deadline) override {
    bell_->alarm_at(deadline);
    serve([&] {
      auto const first = context_.run_one();
      return first == 0 ? 0 : first + poll_ready();
    });
  }
  void unpark() noexcept override { bell_->ring(); }
  void poll() override {
    serve([&] { return poll_ready(); });
  }

  /// Asio does not report outstanding work, but an io_context without work stops when polled.
  bool busy() override {
    constexpr int turns_enough = 1000;  // handlers may post others endlessly
    bell_->stop();
    std::size_t served = 1;
    for (int turn = 0; turn < turns_enough && served > 0; ++turn) {
      served = 1;  // also if one throws
      guard([&] { served = poll_ready(); });
    }
    bool idle = false;
    ++*fences_;
    guard([&] { idle = context_.poll_one() == 0 && context_.stopped(); });
    if (context_.stopped()) context_.restart();
    bell_->listen();
    return !idle;
  }

 private:
  void begin() {
    boost::asio::use_service<asio_bells>(context_).add(*bell_);
    bell_->listen();
  }

  // Runs the handlers that are ready, but not those that they post: there may be no end of them, and tasks must run
  // too. A fence, a handler posted behind the last one, stops the io_context. Returns the number of handlers; at least
  // 1 if one of them, or another thread, has stopped the io_context before the fence.
  std::size_t poll_ready() {
    auto const number = ++*fences_;
    boost::asio::post(context_, [fences = fences_, number, &context = context_] {
      if (*fences != number) return;
      ++*fences;
      context.stop();
    });
    auto const count = context_.poll();
    if (context_.stopped()) context_.restart();
    if (*fences_ != number) return count - 1;
    ++*fences_;
    return count + 1;
  }

  // The loop continues after a handler that throws, and restarts an io_context that was stopped.
  template <class Serve>
  void serve(Serve run_handlers) {
    std::size_t served = 1;
    guard([&] { served = run_handlers(); });
    if (served == 0 && context_.stopped()) context_.restart();
    for (auto& operation : told_) operation.again(operation);
  }
  template <class F>
  static void guard(F f) {
    try {
      f();
    } catch (abi::__forced_unwind&) {
      throw;
    } catch (...) {
      report_unhandled("a handler of Asio", std::current_exception());
    }
  }

  std::optional<boost::asio::io_context> own_;
  boost::asio::io_context& context_;
  std::shared_ptr<asio_bell> const bell_ = std::make_shared<asio_bell>(context_);

  std::shared_ptr<unsigned> const fences_ = std::make_shared<unsigned>(0);  // the number of the latest fence
  boost::intrusive::list<asio_told_operation, boost::intrusive::constant_time_size<false>> told_;
  std::vector<std::unique_ptr<boost::asio::cancellation_signal>> signals_;
};

}  // namespace detail

/// Returns the io_context of this thread's loop, for I/O objects of tasks.
///
/// Does not suspend. The first call creates the io_context; the end of run() destroys it. The loop runs its handlers
/// between tasks; stop() does not stop the loop. Other threads may post to it. A task that calls fork() calls
/// notify_fork() before and after. Preconditions: its I/O objects are destroyed, and a plugin that created it stays
/// loaded, until run() returns. Throws invalid_state_error if this thread runs no loop, or a loop that parks in another
/// way, as on a fiber of Boost.Fiber.
inline boost::asio::io_context& io_context(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  auto* const chosen = detail::chosen_parker(place);
  if (chosen == nullptr) {
    auto made = std::make_unique<detail::asio_parker>();
    auto& context = made->context();
    detail::choose_parker(std::move(made));
    return context;
  }
  if (auto* const sleeps_here = detail::asio_parker::of(chosen)) return sleeps_here->context();
  throw invalid_state_error(
      "fibers: this loop cannot have an io_context, since it does not own its thread: use I/O objects of an io_context "
      "that another thread runs (" +
      detail::to_string(place) + ")");
}

/// As run(), on a user's io_context, which io_context() then returns.
///
/// Handlers that were posted before run too. When main and all tasks have ended, pending operations stay in the
/// io_context, and continue when it is run again. Precondition: no other thread runs the io_context meanwhile. Throws
/// the errors of run(), and invalid_state_error in a handler of this io_context.
template <detail::body F>
detail::result_of<F> run_on(boost::asio::io_context& context, run_options const& options, F&& main,
                            boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  if (context.get_executor().running_in_this_thread()) {
    throw invalid_state_error(
        "fibers: run_on() in a handler of the same io_context, whose other handlers could not run meanwhile: call it "
        "where nobody runs that io_context (" +
        detail::to_string(place) + ")");
  }
  return detail::run(options, std::forward<F>(main), std::make_unique<detail::asio_parker>(context), place);
}
template <detail::body F>
detail::result_of<F> run_on(boost::asio::io_context& context, F&& main,
                            boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return run_on(context, run_options{}, std::forward<F>(main), place);
}

}  // namespace fibers
