// SPDX-License-Identifier: BSL-1.0
#pragma once

// A loop that sleeps in an io_context of Boost.Asio.
//
// It gets one of its own when io_context() is first called, and pays nothing for it before. From then on it sleeps
// where Asio waits, and each time it wakes up runs the handlers that are ready, and then the tasks that these woke.
// While tasks are busy it looks for handlers every so many switches.
//
// Others wake it by ringing a bell: an eventfd that stands in the io_context like any other descriptor. A handler may
// run after the loop has gone, where the io_context is the user's: so the bell belongs to both.

#include <cxxabi.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/assert/source_location.hpp>
#include <boost/intrusive/list.hpp>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <fibers/clock.hpp>
#include <fibers/detail/loop.hpp>
#include <fibers/detail/parker.hpp>
#include <fibers/error.hpp>
#include <fibers/run.hpp>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace fibers {

namespace detail {

class asio_bell : public std::enable_shared_from_this<asio_bell> {
 public:
  explicit asio_bell(boost::asio::io_context& context) : descriptor_(context, open()) {}

  /// Any thread, and signal handlers.
  void ring() noexcept {
    std::uint64_t const once = 1;
    if (!rung_.exchange(true)) [[maybe_unused]]
      auto const written = ::write(descriptor_number_, &once, sizeof once);
  }

  /// From now on until stop() a ring ends a wait in the io_context.
  void listen() {
    listening_ = true;
    read();
  }
  void stop() {
    listening_ = false;
    boost::system::error_code ignored;
    descriptor_.cancel(ignored);
  }
  void close() noexcept {
    listening_ = false;
    boost::system::error_code ignored;
    descriptor_.close(ignored);
  }

 private:
  void read() {
    descriptor_.async_read_some(boost::asio::buffer(&count_, sizeof count_),
                                [self = shared_from_this()](boost::system::error_code const&, std::size_t) {
                                  self->rung_.store(false);
                                  if (self->listening_) self->read();
                                });
  }
  int open() {
    descriptor_number_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (descriptor_number_ < 0) throw std::system_error(errno, std::generic_category(), "fibers: eventfd");
    return descriptor_number_;
  }

  int descriptor_number_ = -1;
  std::atomic<bool> rung_ = false;  // nobody need ring again before it was heard
  bool listening_ = false;
  std::uint64_t count_ = 0;
  boost::asio::posix::stream_descriptor descriptor_;
};

/// An operation that was told to end, and has not yet. Composed ones may not have heard it: a part of theirs was
/// completed just then, and the next part began. So they are told again.
struct asio_told_operation : boost::intrusive::list_base_hook<> {
  void (*again)(asio_told_operation&) noexcept = nullptr;
};

class asio_parker final : public parker {
 public:
  asio_parker() : own_(std::in_place, 1), context_(*own_) { begin(); }  // one thread runs it
  explicit asio_parker(boost::asio::io_context& users) : context_(users) { begin(); }
  ~asio_parker() override {
    bell_->close();
    ++*fences_;
    here_ = outer_;
  }

  /// The io_context in which this thread's loop sleeps, or null.
  static boost::asio::execution_context* here() noexcept { return here_ != nullptr ? &here_->context_ : nullptr; }

  /// Tells the operation again after all that happens, until it is taken off. This thread's loop has a parker.
  static void keep_telling(asio_told_operation& operation) noexcept { here_->told_.push_back(operation); }
  static void told_enough(asio_told_operation& operation) noexcept {
    if (operation.is_linked()) here_->told_.erase(here_->told_.iterator_to(operation));
  }

  boost::asio::io_context& context() noexcept { return context_; }

  void park(time_point deadline) override {
    serve([&] {
      auto const first = deadline == time_point::max() ? context_.run_one() : context_.run_one_until(deadline);
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
    bell_->listen();
    here_ = this;
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

  static inline constinit thread_local asio_parker* here_ = nullptr;
  asio_parker* const outer_ = here_;
};

}  // namespace detail

/// The io_context of this thread's loop, for I/O objects of tasks: made when it is first asked for, destroyed when
/// run() returns, which all I/O objects on it must have done before. Other threads may post to it. Its handlers run
/// between tasks. Need not be run, and stop() does not end it. Does not suspend. Throws invalid_state_error if this
/// thread runs no loop, or one that sleeps in another way, as on a fiber of Boost.Fiber.
inline boost::asio::io_context& io_context(boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  auto* const chosen = detail::chosen_parker(place);
  if (chosen == nullptr) {
    auto made = std::make_unique<detail::asio_parker>();
    auto& context = made->context();
    detail::choose_parker(std::move(made));
    return context;
  }
  if (auto* const sleeps_here = dynamic_cast<detail::asio_parker*>(chosen)) return sleeps_here->context();
  throw invalid_state_error(
      "fibers: this loop cannot have an io_context, since it does not own its thread: use I/O objects of an io_context "
      "that another thread runs (" +
      detail::to_string(place) + ")");
}

/// run() on an io_context of the user's, which io_context() then is: handlers that are there already run too. No other
/// thread may run it meanwhile. It is left as it is when main and all tasks have ended: what is still under way goes on
/// when somebody runs it again. Throws invalid_state_error in a handler of this io_context.
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
