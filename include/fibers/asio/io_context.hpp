// SPDX-License-Identifier: BSL-1.0
#pragma once

// A loop that parks in an io_context of Boost.Asio.
//
// The first call of io_context() creates one for the loop; before, it costs nothing. From then on an idle loop waits in
// Asio. Each time it wakes, it runs the ready handlers, and then the tasks that these have woken. A busy loop polls for
// handlers after a number of switches.
//
// A bell wakes the loop: an eventfd for other threads, and a timerfd for its deadlines, both registered in the
// io_context. (Asio's own waits with a deadline wake up each second without need, and are late by up to a millisecond.)
// With a user's io_context, a handler may run after the loop has ended; therefore the loop and its handlers share the
// bell.

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

/// What ends a loop's wait in an io_context: a ring, or a deadline.
class asio_bell : public std::enable_shared_from_this<asio_bell>,
                  public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  explicit asio_bell(boost::asio::io_context& context)
      : ring_number_(open_ring()), ring_(context, ring_number_), alarm_(context, open_alarm()) {}

  /// Thread-safe, also for signal handlers.
  void ring() noexcept {
    if (!rung_.exchange(true)) write_ring();
  }

  /// A wait in the io_context that begins now ends at `deadline` or, once, before. Only an earlier deadline than that
  /// of the alarm sets it: most deadlines are withdrawn before they come, and the next is a later one.
  void alarm_at(time_point deadline) noexcept {
    if (deadline >= alarm_at_) return;
    alarm_at_ = deadline;
    set_alarm();
  }

  /// From now on until stop() rings and alarms are heard.
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

  /// In the child of a fork: descriptors of its own, since the old ones are shared with the parent.
  void reopen() {
    if (!ring_.is_open()) return;
    boost::system::error_code ignored;
    int const ring = open_ring();
    ring_number_.store(ring);  // before the old one is closed: a signal handler may ring now
    ring_.close(ignored);      // which ends its read, and the handler begins the next
    ring_.assign(ring);
    rung_.store(true);  // what was rung in the parent just before was meant for the copy, too
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
  std::atomic<bool> rung_ = false;  // no other ring is needed before this one was heard
  bool listening_ = false;
  std::uint64_t rings_ = 0, alarms_ = 0;
  time_point alarm_at_ = time_point::max();
  boost::asio::posix::stream_descriptor ring_, alarm_;
};

/// Tells the bells in an io_context of a fork. In a shared library with hidden symbols this is another service, of the
/// bells which that library made, and no less right.
class asio_bells final : public boost::asio::execution_context::service {
 public:
  using key_type = asio_bells;
  static inline boost::asio::execution_context::id id = {};

  explicit asio_bells(boost::asio::execution_context& context) : service(context) {}

  void add(asio_bell& bell) noexcept { bells_.push_back(bell); }

 private:
  void shutdown() override {}
  // The reactor, which is older, has been told before: in the child it no longer shares anything with the parent.
  void notify_fork(boost::asio::execution_context::fork_event event) override {
    if (event != boost::asio::execution_context::fork_child) return;
    for (auto& bell : bells_) bell.reopen();
  }

  boost::intrusive::list<asio_bell, boost::intrusive::constant_time_size<false>> bells_;
};

/// An operation that was told to end, and has not yet. Composed ones may not have heard it: a part of theirs was
/// completed just then, and the next part began. So they are told again.
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

  /// That of this thread's loop; null if the loop sleeps in another way.
  static asio_parker* here() noexcept { return of(chosen_parker()); }
  static asio_parker* of(parker* chosen) noexcept {
    return chosen != nullptr && chosen->kind() == parker_kind::asio ? static_cast<asio_parker*>(chosen) : nullptr;
  }

  /// Tells the operation again after all that happens, until it is unlinked.
  void keep_telling(asio_told_operation& operation) noexcept { told_.push_back(operation); }

  /// A signal keeps the memory that operations take to listen to it: so it is used again, by the loop's next operation.
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

  /// Asio does not say how much is under way, but once nothing is ready it stops when that is nothing.
  bool busy() override {
    constexpr int turns_enough = 1000;  // handlers may bring forth others for ever
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

  // The handlers that are ready, and not those that these bring forth: there may be no end of them, and tasks must run
  // too. So behind the last one stands one that stops. Returns how many there were; but not 0 if one of them, or
  // another thread, has stopped the io_context before.
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

  // The loop goes on whatever happens: after a handler that throws, or when the io_context was stopped.
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

  std::shared_ptr<unsigned> const fences_ = std::make_shared<unsigned>(0);  // the number of the latest
  boost::intrusive::list<asio_told_operation, boost::intrusive::constant_time_size<false>> told_;
  std::vector<std::unique_ptr<boost::asio::cancellation_signal>> signals_;
};

}  // namespace detail

/// Returns the io_context of this thread's loop, for I/O objects of tasks. It is created by the first call and
/// destroyed when run() returns. Precondition: its I/O objects are destroyed before that.
///
/// The loop runs its handlers, between tasks; stop() does not stop it. Other threads may post to it. A task that calls
/// fork() calls notify_fork() before and after. Does not suspend. Throws invalid_state_error if this thread runs no
/// loop, or one that parks in another way, as on a fiber of Boost.Fiber. A plugin that creates it must stay loaded
/// until run() returns.
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

/// As run(), on a user's io_context, which io_context() then returns. Handlers that were posted before run too. No
/// other thread may run the io_context meanwhile. When main and all tasks have ended, pending operations stay in it,
/// and continue when it is run again. Throws invalid_state_error in a handler of this io_context.
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
