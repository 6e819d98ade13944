// SPDX-License-Identifier: BSL-1.0

// Other ways in which libraries treat an operation's handler: they wrap it, drop it, keep its memory, or throw after
// they were given it.

#include <atomic>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/append.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context_strand.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <fibers/event.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "catch.hpp"
#include "network.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using boost::system::error_code;
using fibers::use_fiber;

namespace {

/// An operation that a thread of the pool has to complete, and does when it is cancelled.
struct of_a_pool {
  asio::thread_pool& pool;
  std::thread::id& told_on;

  asio::thread_pool::executor_type get_executor() const noexcept { return pool.get_executor(); }

  template <class Handler>
  void operator()(Handler handler) const {
    auto slot = asio::get_associated_cancellation_slot(handler);
    auto kept = std::make_shared<Handler>(std::move(handler));
    slot.assign([kept, &told = told_on](asio::cancellation_type) mutable {
      if (kept == nullptr) return;
      told = std::this_thread::get_id();
      auto const ended = std::exchange(kept, nullptr);
      std::move (*ended)(error_code(asio::error::operation_aborted));
    });
  }
};

}  // namespace

TEST_CASE_METHOD(network, "asio: an operation within several adapters is cancelled where it runs") {
  std::thread::id pools, told;
  std::string out;
  asio::thread_pool pool(1);
  run([&] {
    fibers::io_context();
    asio::post(pool, use_fiber);
    asio::post(pool, [&] { pools = std::this_thread::get_id(); });
    auto waiting = fibers::spawn([&] {
      auto token = asio::as_tuple(asio::append(use_fiber, 1));
      asio::async_initiate<decltype(token), void(error_code)>(of_a_pool{pool, told}, token);
    });
    fibers::this_task::yield();
    waiting.cancel();
    out = how([&] { waiting.get(); });
  });
  pool.join();
  CHECK(out == "cancelled");
  CHECK(told == pools);
  CHECK(told != std::thread::id());
}

TEST_CASE_METHOD(network, "asio: an initiation that throws leaves nothing of the operation behind") {
  std::string out;
  run([&] {
    asio::steady_timer timer(fibers::io_context(), 5ms);
    auto fails = asio::async_initiate<asio::deferred_t const&, void(error_code)>(
        [](auto) { throw std::runtime_error("second"); }, asio::deferred);
    auto both = asio::experimental::make_parallel_group(timer.async_wait(asio::deferred), std::move(fails));
    out = how([&] { both.async_wait(asio::experimental::wait_for_all(), use_fiber); });
    asio::steady_timer(fibers::io_context(), 10ms).async_wait(use_fiber);  // the first operation has completed by now
  });
  CHECK(out == "failed: second");
}

TEST_CASE_METHOD(network, "asio: a request during the initiation ends the operation") {
  std::string out;
  run([&] {
    asio::steady_timer timer(fibers::io_context(), 1h);
    auto waiting = fibers::spawn([&] {
      asio::async_initiate<fibers::use_fiber_t const, void(error_code)>(
          [&](auto handler) {
            timer.async_wait(std::move(handler));
            fibers::this_task::cancel("in between");
          },
          use_fiber);
    });
    out = how([&] { waiting.get(); });
  });
  CHECK(out == "cancelled: in between");
}

TEST_CASE_METHOD(network,
                 "asio: an operation may complete within the cancellation handler, also during its initiation") {
  std::string out;
  run([&] {
    fibers::io_context();
    auto waiting = fibers::spawn([&] {
      asio::async_initiate<fibers::use_fiber_t const, void(error_code)>(
          [](auto handler) {
            auto slot = asio::get_associated_cancellation_slot(handler);
            slot.assign([kept = std::make_shared<decltype(handler)>(std::move(handler))](auto) mutable {
              if (auto const ended = std::exchange(kept, nullptr)) std::move (*ended)(asio::error::operation_aborted);
            });
            fibers::this_task::cancel("at once");
          },
          use_fiber);
    });
    out = how([&] { waiting.get(); });
    for (int i = 0; i < 3; ++i) asio::post(fibers::io_context(), use_fiber);  // it is not notified any more
  });
  CHECK(out == "cancelled: at once");
}

TEST_CASE_METHOD(network, "asio: another thread may destroy a handler and free its memory later") {
  int dropped = 0;
  asio::thread_pool pool(1);
  run([&] {
    for (int i = 0; i < 500; ++i) {
      try {
        asio::async_initiate<fibers::use_fiber_t const, void(error_code)>(
            [&](asio::any_completion_handler<void(error_code)> handler) {
              asio::post(pool, [handler = std::move(handler)] {});
            },
            use_fiber);
      } catch (fibers::invalid_state_error const&) {
        ++dropped;
      }
    }
  });
  pool.join();
  CHECK(dropped == 500);
}

TEST_CASE_METHOD(network, "asio: memory for an operation may have any alignment") {
  struct alignas(128) wide {
    char bytes[128];
  };
  bool aligned = false;
  run([&] {
    asio::async_initiate<fibers::use_fiber_t const, void()>(
        [&](auto handler) {
          using allocator_of_wide = typename std::allocator_traits<
              asio::associated_allocator_t<decltype(handler)>>::template rebind_alloc<wide>;
          allocator_of_wide allocator(asio::get_associated_allocator(handler));
          auto* const block = allocator.allocate(1);
          aligned = reinterpret_cast<std::uintptr_t>(block) % alignof(wide) == 0;
          allocator.deallocate(block, 1);
          handler();
        },
        use_fiber);
  });
  CHECK(aligned);
}

TEST_CASE_METHOD(network, "asio: executors of the old kind work") {
  bool here = false;
  run([&] {
    asio::io_context::strand strand(fibers::io_context());
    asio::post(strand, use_fiber);
    here = true;
  });
  CHECK(here);
}

TEST_CASE_METHOD(network, "asio: a wait for a channel of Asio is cancelled like any other") {
  using channel = asio::experimental::channel<void(error_code, int)>;
  std::string timed, in_brackets, in_tuple, sent;
  int got = 0;
  run([&] {
    channel items(fibers::io_context());
    timed = how([&] { fibers::with_timeout(1ms, [&] { items.async_receive(use_fiber); }); });
    auto const cancelled = [](auto wait) {
      auto waiting = fibers::spawn(wait);
      fibers::this_task::yield();
      waiting.cancel();
      return how([&] { waiting.get(); });
    };
    in_brackets = cancelled([&] {
      error_code error;
      items.async_receive(use_fiber[error]);
    });
    in_tuple = cancelled([&] { items.async_receive(asio::as_tuple(use_fiber)); });
    sent = cancelled([&] { items.async_send(error_code(), 1, use_fiber); });
    auto sending = fibers::spawn([&] { items.async_send(error_code(), 2, use_fiber); });
    got = items.async_receive(use_fiber);
    sending.get();
  });
  CHECK(timed.starts_with("failed: timed out"));
  CHECK(in_brackets == "cancelled");
  CHECK(in_tuple == "cancelled");
  CHECK(sent == "cancelled");
  CHECK(got == 2);
}

TEST_CASE_METHOD(network,
                 "asio: in virtual time a handler that throws, or stops the io_context, hides no operation under way") {
  bool const throws = GENERATE(true, false);
  std::string out;
  fibers::run(options(fibers::clock_kind::virtual_time), [&] {
    auto& context = fibers::io_context();
    fibers::event done;
    asio::steady_timer timer(context, 20ms);
    timer.async_wait([&](error_code) { done.set(); });
    bool ran = false;
    auto beside = fibers::spawn([&] {
      while (throws && !ran) fibers::this_task::yield();
    });
    asio::post(context, [&] {
      ran = true;
      if (throws) throw std::runtime_error("no");
      context.stop();
    });
    while (throws && !ran) fibers::this_task::yield();
    out = how([&] { fibers::with_timeout(1h, [&] { done.wait(); }); });
  });
  CHECK(out == "returned");
  CHECK(unfetched.size() == (throws ? 1 : 0));
  unfetched.clear();
}

TEST_CASE_METHOD(network, "asio: in virtual time a handler that posts itself for ever stops nothing") {
  bool over = false;
  fibers::run(options(fibers::clock_kind::virtual_time), [&] {
    auto const again = [&](auto const& self) -> void {
      if (!over) asio::post(fibers::io_context(), [&self] { self(self); });
    };
    again(again);
    fibers::sleep_for(1ms);
    over = true;
    asio::post(fibers::io_context(), use_fiber);
  });
  CHECK(over);
}

TEST_CASE_METHOD(network, "asio: run_on() in a handler of the same io_context is refused, because it would hang") {
  std::string out;
  asio::io_context context;
  asio::post(context, [&] { out = how([&] { fibers::run_on(context, [] {}); }); });
  context.run();
  CHECK(out.starts_with("failed: fibers: run_on() in a handler of the same io_context"));
}
