// SPDX-License-Identifier: BSL-1.0
#pragma once

// One operation of Asio that a task waits for. The operation and the memory that Asio needs for it are on the task's
// stack, so the task waits until no other party uses them.
//
// These parties hold a share: the task, until it suspends; the operation, until its handler has run; each block of
// memory that the operation took; and a cancellation that was posted to an executor of other threads. The party that
// releases the last share wakes the task. If the task itself releases the last share, the operation has completed at
// once, and the task does not suspend.

#include <atomic>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/assert/source_location.hpp>
#include <chrono>
#include <cstddef>
#include <fibers/asio/io_context.hpp>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/task_state.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/error.hpp>
#include <fibers/this_task.hpp>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace fibers::detail {

inline constexpr boost::source_location asio_place(__FILE__, __LINE__, "fibers::use_fiber");

/// The cancellation signal of one operation; reused if the loop parks in an io_context.
class asio_signal {
 public:
  asio_signal() {
    if (auto* const parker = asio_parker::here()) signal_ = parker->take_signal();
    if (signal_ == nullptr) signal_ = std::make_unique<boost::asio::cancellation_signal>();
  }
  asio_signal(asio_signal const&) = delete;
  asio_signal& operator=(asio_signal const&) = delete;
  ~asio_signal() {
    try {
      auto* const parker = asio_parker::here();
      if (parker == nullptr) return;
      if (signal_->slot().has_handler()) signal_->slot().emplace<nobody>();
      parker->keep_signal(std::move(signal_));
    } catch (std::bad_alloc const&) {  // the signal is not reused
    }
  }
  boost::asio::cancellation_signal* operator->() const noexcept { return signal_.get(); }

 private:
  struct nobody {
    void operator()(boost::asio::cancellation_type) const noexcept {}
  };
  std::unique_ptr<boost::asio::cancellation_signal> signal_;
};

/// The part of an operation that does not depend on the types of the results.
class asio_operation_base : public waiter, private asio_told_operation {
 public:
  asio_operation_base(asio_operation_base const&) = delete;
  asio_operation_base& operator=(asio_operation_base const&) = delete;

  /// Releases a share.
  struct give_up {
    void operator()(asio_operation_base* operation) const noexcept { operation->give_up_share(); }
  };
  using share = std::unique_ptr<asio_operation_base, give_up>;

  auto slot() const noexcept { return signal_->slot(); }

  /// For the operation: one block at a time is on the task's stack. A block holds a share, since some operations free
  /// their memory only after the handler was destroyed.
  void* allocate(std::size_t size) {
    auto* const block = memory_used_ || size > sizeof memory_ ? detail::allocate(size) : memory_;
    if (block == memory_) memory_used_ = true;
    shares_.add();
    return block;
  }
  void deallocate(void* block) noexcept {
    if (block == memory_) {
      memory_used_ = false;
    } else {
      detail::deallocate(block);
    }
    give_up_share();
  }

 protected:
  asio_operation_base() : waiter(begin(), asio_place) {}
  ~asio_operation_base() = default;

  /// Called before the initiation, so that cancellation requests reach the operation.
  template <class Executor>
  void runs_on(Executor const& executor) noexcept {
    if (belongs_here(executor)) return;
    executor_ = &executor;
    end_ = &end_elsewhere<Executor>;
  }

  /// Called if the initiation threw; the initiation may have moved the handler elsewhere before.
  void end_failed() noexcept {
    if (shares_.count() > 1) tell();
    sleep();
  }

  void sleep() noexcept {
    // A request that arrived during the initiation found no suspended waiter, and reaches the operation here.
    if (shares_.count() > 1 && has_deliverable_request(task())) tell();
    if (!shares_.remove()) {
      outside_wait const outside(task());
      static_cast<void>(suspend(*this));  // notified: no other party may claim it
    }
    asio_told_operation::unlink();
  }

  /// Called when the operation has its result.
  void completed() noexcept { completed_.store(true, std::memory_order_release); }

  /// Throws the request that aborted the operation, if there is one.
  void throw_request(std::size_t transferred) {
    if (!told_ || !has_deliverable_request(task())) return;
    auto request = deliver_requests(task());
    request.transferred(transferred);
    task().cancels().transferred(transferred);
    throw request;
  }

 private:
  static task_state& begin() {
    this_task::checkpoint(asio_place);  // operations that complete at once must yield, too
    return this_task_state(asio_place);
  }

  template <class Executor>
  static bool belongs_here(Executor const& executor) noexcept {
    if constexpr (boost::asio::can_query<Executor const&, boost::asio::execution::context_t>::value) {
      return &boost::asio::query(executor, boost::asio::execution::context) == context_here();
    } else {
      return false;
    }
  }

  static boost::asio::execution_context* context_here() noexcept {
    auto* const parker = asio_parker::here();
    return parker != nullptr ? &parker->context() : nullptr;
  }

  void give_up_share() noexcept {
    if (shares_.remove() && try_claim(claim::notified)) wake(*this);
  }
  share take_share() noexcept { return share(shares_.add_to_others() ? this : nullptr); }

  answer on_cancel() noexcept final {
    tell();
    return answer::told;
  }
  void tell() noexcept {
    if (!std::exchange(told_, true)) end_(*this);
  }
  // Requests all types of cancellation; the operation chooses one that it supports.
  static void end_here(asio_operation_base& self) noexcept {
    self.again = [](asio_told_operation& told) noexcept { static_cast<asio_operation_base&>(told).emit(); };
    asio_parker::here()->keep_telling(self);
    self.emit();
  }
  void emit() noexcept {
    if (!completed_.load(std::memory_order_acquire)) signal_->emit(boost::asio::cancellation_type::all);
  }
  static void end_nowhere(asio_operation_base&) noexcept {}
  // Cancels the operation on its executor, hence never concurrently with it, and repeats the request.
  template <class Executor>
  static void end_elsewhere(asio_operation_base& self) noexcept try {
    if (auto ours = self.take_share()) {
      boost::asio::post(*static_cast<Executor const*>(self.executor_),
                        [ours = std::move(ours)]() mutable { emit_now_and_then<Executor>(std::move(ours)); });
    }
  } catch (std::bad_alloc const&) {  // the operation is not cancelled, but waited for
  }
  template <class Executor>
  static void emit_now_and_then(share ours, int rounds = 4) {
    if (ours->completed_.load(std::memory_order_acquire)) return;
    ours->emit();
    auto const& executor = *static_cast<Executor const*>(ours->executor_);
    if (rounds > 0) {  // most likely its handler is ready by now
      boost::asio::post(executor, [ours = std::move(ours), rounds]() mutable {
        emit_now_and_then<Executor>(std::move(ours), rounds - 1);
      });
    } else if constexpr (std::is_constructible_v<boost::asio::steady_timer, Executor const&,
                                                 std::chrono::milliseconds>) {
      emit_again_later<Executor>(std::move(ours));
    }
  }
  template <class Executor>
  static void emit_again_later(share ours) {
    auto timer = std::make_unique<boost::asio::steady_timer>(*static_cast<Executor const*>(ours->executor_),
                                                             std::chrono::milliseconds(10));
    auto& armed = *timer;
    armed.async_wait([timer = std::move(timer), ours = std::move(ours)](boost::system::error_code const&) mutable {
      emit_now_and_then<Executor>(std::move(ours));
    });
  }

  asio_signal signal_;
  // An operation that does not name its executor is assumed to run on the loop's own io_context.
  void (*end_)(asio_operation_base&) noexcept = asio_parker::here() != nullptr ? &end_here : &end_nowhere;
  void const* executor_ = nullptr;
  reference_count shares_{2};
  std::atomic<bool> completed_ = false;
  bool told_ = false;
  bool memory_used_ = false;
  alignas(std::max_align_t) std::byte memory_[384];
};

}  // namespace fibers::detail
