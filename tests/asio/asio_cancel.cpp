// SPDX-License-Identifier: BSL-1.0
#include <sys/socket.h>

#include <boost/asio.hpp>
#include <fibers/event.hpp>
#include <fibers/gather.hpp>
#include <fibers/race.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "network.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using boost::system::error_code;
using boost::system::system_error;
using fibers::cancelled_error;
using fibers::use_fiber;

namespace {

// All operations, each of which would wait for ever.
struct endless {
  char const* name;
  std::function<void()> wait;
};

std::vector<endless> endless_operations() {
  auto const with_ends = [](auto use) {
    return [use] {
      both_ends ends;
      std::string buffer(64, ' ');
      use(ends, buffer);
    };
  };
  return {
      {"read some", with_ends([](auto& e, auto& b) { e.near.async_read_some(asio::buffer(b), use_fiber); })},
      {"read all", with_ends([](auto& e, auto& b) { asio::async_read(e.near, asio::buffer(b), use_fiber); })},
      {"read a line",
       with_ends([](auto& e, auto& b) { asio::async_read_until(e.near, asio::dynamic_buffer(b), '\n', use_fiber); })},
      {"wait until readable",
       with_ends([](auto& e, auto&) { e.near.async_wait(local::socket::wait_read, use_fiber); })},
      {"write", with_ends([](auto& e, auto&) {
         asio::async_write(e.near, asio::buffer(std::string(16'000'000, '-')), use_fiber);
       })},
      {"accept",
       [] {
         auto acceptor = listen_on_loopback();
         acceptor.async_accept(use_fiber);
       }},
      {"timer", [] { asio::steady_timer(fibers::io_context(), 1h).async_wait(use_fiber); }},
      {"signal", [] { fibers::wait_for_signal({SIGUSR1}); }},
      {"in brackets", with_ends([](auto& e, auto& b) {
         error_code error;
         e.near.async_read_some(asio::buffer(b), use_fiber[error]);
       })},
      {"as a tuple",
       with_ends([](auto& e, auto& b) { e.near.async_read_some(asio::buffer(b), asio::as_tuple(use_fiber)); })},
      {"coroutine",
       [] {
         asio::co_spawn(
             fibers::io_context(),
             []() -> asio::awaitable<void> {
               co_await asio::steady_timer(fibers::io_context(), 1h).async_wait(asio::use_awaitable);
             },
             use_fiber);
       }},
  };
}

std::string const message = "enough";

// Runs the ready handlers, including those that they post.
void let_handlers_run() {
  for (int i = 0; i < 3; ++i) asio::post(fibers::io_context(), use_fiber);
}

}  // namespace

TEST_CASE_METHOD(network, "asio: every operation can be cancelled, wherever it waits") {
  std::string outcomes;
  run([&] {
    for (auto const& operation : endless_operations()) {
      auto task = fibers::spawn(operation.wait);
      let_handlers_run();
      task.cancel(message);
      auto const ended = how([&] { task.get(); });
      if (ended != "cancelled: enough") outcomes += std::string(operation.name) + ": " + ended + "; ";
    }
  });
  CHECK(outcomes == "");
}

TEST_CASE_METHOD(network, "asio: a pending request is thrown before the operation begins") {
  std::string outcomes;
  run([&] {
    for (auto const& operation : endless_operations()) {
      auto task = fibers::spawn([&] {
        fibers::this_task::cancel(message);
        operation.wait();
      });
      auto const ended = how([&] { task.get(); });
      if (ended != "cancelled: enough") outcomes += std::string(operation.name) + ": " + ended + "; ";
    }
  });
  CHECK(outcomes == "");
}

TEST_CASE_METHOD(network, "asio: a timeout ends every operation, and the task continues") {
  std::string outcomes;
  run([&] {
    for (auto const& operation : endless_operations()) {
      bool const ended = fibers::move_on_after(1ms, operation.wait);
      if (ended || fibers::this_task::cancelling() != 0) outcomes += std::string(operation.name) + "; ";
    }
  });
  CHECK(outcomes == "");
}

TEST_CASE_METHOD(network,
                 "asio: every operation can lose a race, and is cancelled in a gather when another callable fails") {
  std::string outcomes;
  run([&] {
    for (auto const& operation : endless_operations()) {
      auto const quick = [] { asio::steady_timer(fibers::io_context(), 100us).async_wait(use_fiber); };
      auto const raced = how([&] { fibers::race(operation.wait, quick); });
      auto const gathered = how([&] {
        fibers::gather(operation.wait, [&] {
          quick();
          throw std::runtime_error("broken");
        });
      });
      if (raced != "returned" || gathered != "failed: broken") {
        outcomes += std::string(operation.name) + ": " + raced + ", " + gathered + "; ";
      }
    }
  });
  CHECK(outcomes == "");
}

TEST_CASE_METHOD(network, "asio: a request of another thread ends an operation") {
  std::string ended;
  run([&] {
    both_ends ends;
    char byte;
    fibers::event before;
    auto task = fibers::spawn([&] {
      before.set();
      ends.near.async_read_some(asio::buffer(&byte, 1), use_fiber);
    });
    before.wait();
    std::thread other([handle = task.handle()]() mutable { handle.cancel(message); });
    ended = how([&] { task.get(); });
    other.join();
  });
  CHECK(ended == "cancelled: enough");
}

TEST_CASE_METHOD(network, "asio: in a shield an operation is not cancelled, and the request is thrown after it") {
  std::string got, ended;
  run([&] {
    both_ends ends;
    fibers::event before;
    auto task = fibers::spawn([&] {
      fibers::with_shield([&] {
        before.set();
        got.resize(4);
        asio::async_read(ends.near, asio::buffer(got), use_fiber);
      });
      fibers::this_task::checkpoint();
    });
    before.wait();
    task.cancel(message);
    fibers::this_task::yield();
    asio::async_write(ends.far, asio::buffer("kept", 4), use_fiber);
    ended = how([&] { task.get(); });
  });
  CHECK(got == "kept");
  CHECK(ended == "cancelled: enough");
}

TEST_CASE_METHOD(network, "asio: the limit of a shield ends the operation in it") {
  std::string ended;
  run([&] {
    both_ends ends;
    char byte;
    auto task = fibers::spawn([&] {
      try {
        fibers::sleep_for(1h);
      } catch (cancelled_error const&) {
        ended = how(
            [&] { fibers::with_shield(2ms, [&] { ends.near.async_read_some(asio::buffer(&byte, 1), use_fiber); }); });
        throw;
      }
    });
    fibers::this_task::yield();
    task.cancel_and_wait();
  });
  CHECK(ended.starts_with("failed: timed out"));
}

TEST_CASE_METHOD(network, "asio: during unwinding no operation throws a request") {
  std::string got, ended;
  run([&] {
    both_ends ends;
    struct says_goodbye {
      both_ends& ends;
      std::string& got;
      ~says_goodbye() {
        got.resize(3);
        asio::async_read(ends.near, asio::buffer(got), use_fiber);
      }
    };
    auto task = fibers::spawn([&] {
      says_goodbye const at_the_end{ends, got};
      throw std::runtime_error("broken");
    });
    fibers::this_task::yield();
    task.cancel(message);
    fibers::this_task::yield();
    asio::async_write(ends.far, asio::buffer("bye", 3), use_fiber);
    ended = how([&] { task.get(); });
  });
  CHECK(got == "bye");
  CHECK(ended == "failed: broken");
}

TEST_CASE_METHOD(network, "asio: clean-up after a cancellation may use the network, and is not interrupted") {
  std::string got;
  run([&] {
    both_ends ends;
    auto task = fibers::spawn([&] {
      char byte;
      try {
        ends.near.async_read_some(asio::buffer(&byte, 1), use_fiber);
      } catch (cancelled_error const&) {
        asio::async_write(ends.near, asio::buffer("bye", 3), use_fiber);
        ends.near.close();
        throw;
      }
    });
    fibers::this_task::yield();
    task.cancel();
    got = read_to_end(ends.far);
    task.wait();
  });
  CHECK(got == "bye");
}

TEST_CASE_METHOD(network,
                 "asio: closing the socket from another task is an error of the operation, and no cancellation") {
  std::optional<error_code> thrown;
  run([&] {
    both_ends ends;
    char byte;
    auto task = fibers::spawn([&] {
      try {
        ends.near.async_read_some(asio::buffer(&byte, 1), use_fiber);
      } catch (system_error const& error) {
        thrown = error.code();
      }
    });
    fibers::this_task::yield();
    ends.near.close();
    task.get();
  });
  CHECK(thrown == asio::error::operation_aborted);
}

// --- completed operations are not lost ---

TEST_CASE_METHOD(network,
                 "asio: an operation that completed before the request returns, and the request stays pending") {
  std::string got, ended;
  run([&] {
    both_ends ends;
    auto task = fibers::spawn([&] {
      got.resize(8);
      got.resize(ends.near.async_read_some(asio::buffer(got), use_fiber));
      fibers::this_task::checkpoint();
    });
    fibers::this_task::yield();
    asio::write(ends.far, asio::buffer("there", 5));
    while (ends.near.available() != 0) fibers::this_task::yield();
    task.cancel(message);  // the task has not run yet: handlers run between the turns of tasks
    ended = how([&] { task.get(); });
  });
  CHECK(got == "there");
  CHECK(ended == "cancelled: enough");
}

TEST_CASE_METHOD(network, "asio: data that a cancelled reader has not returned can still be read") {
  auto const sent = numbered(200'000);
  std::string got;
  int cuts = 0;
  run([&] {
    both_ends ends;
    auto const writer = fibers::spawn([&] {
      std::string_view left = sent;
      while (!left.empty()) {
        auto const size = std::min<std::size_t>(left.size(), 97 + left.size() % 311);
        asio::async_write(ends.near, asio::buffer(left.substr(0, size)), use_fiber);
        left.remove_prefix(size);
        if (left.size() % 5 == 0) fibers::this_task::yield();
      }
      ends.near.close();
    });
    bool at_end = false;
    while (!at_end) {
      auto reader = fibers::spawn([&] {
        error_code error;
        char buffer[64];
        while (!error) got.append(buffer, ends.far.async_read_some(asio::buffer(buffer), use_fiber[error]));
        at_end = true;
      });
      for (std::size_t i = 0; i < got.size() % 3 + 1; ++i) fibers::this_task::yield();
      if (reader.cancel()) ++cuts;
      reader.wait();
    }
  });
  CHECK(got == sent);
  CHECK(cuts > 10);
}

TEST_CASE_METHOD(network, "asio: a cancelled reader of whole blocks reports how many bytes it has taken") {
  auto const sent = numbered(50'000);
  std::string got, last(997, ' ');
  std::size_t partial = 0;
  run([&] {
    both_ends ends;
    auto const writer = fibers::spawn([&] {
      std::string_view left = sent;
      while (!left.empty()) {
        auto const size = std::min<std::size_t>(left.size(), 101 + left.size() % 211);
        asio::async_write(ends.near, asio::buffer(left.substr(0, size)), use_fiber);
        left.remove_prefix(size);
        fibers::this_task::yield();
      }
      ends.near.close();
    });
    bool at_end = false;
    while (!at_end) {
      auto reader = fibers::spawn([&] {
        try {
          error_code error;
          while (!error) got.append(last, 0, asio::async_read(ends.far, asio::buffer(last), use_fiber[error]));
          at_end = true;
        } catch (cancelled_error const& request) {
          got.append(last, 0, request.transferred());
          if (request.transferred() > 0) ++partial;
          throw;
        }
      });
      for (std::size_t i = 0; i < got.size() % 4 + 1; ++i) fibers::this_task::yield();
      reader.cancel();
      reader.wait();
    }
  });
  CHECK(got == sent);
  CHECK(partial > 0);
}

TEST_CASE_METHOD(network, "asio: the bytes that a cancelled writer reports as sent arrive at the other end") {
  auto const sent = numbered(8'000'000);
  std::string got;
  std::optional<std::size_t> transferred;
  run([&] {
    both_ends ends;
    auto writer = fibers::spawn([&] {
      try {
        asio::async_write(ends.near, asio::buffer(sent), use_fiber);
      } catch (cancelled_error const& request) {
        transferred = request.transferred();
        ends.near.close();
      }
    });
    char buffer[100'000];
    while (got.size() < 1'000'000) got.append(buffer, ends.far.async_read_some(asio::buffer(buffer), use_fiber));
    writer.cancel();
    got += read_to_end(ends.far);
    writer.get();
  });
  CHECK(transferred.has_value());
  CHECK(transferred == got.size());
  CHECK(got == sent.substr(0, got.size()));
  CHECK(got.size() < sent.size());
}

TEST_CASE_METHOD(network, "asio: with redirect_error the request stays pending until the next suspension point") {
  error_code error;
  std::string read_ended, ended;
  run([&] {
    both_ends ends;
    char byte;
    auto task = fibers::spawn([&] {
      read_ended = how(
          [&] { return ends.near.async_read_some(asio::buffer(&byte, 1), asio::redirect_error(use_fiber, error)); });
      fibers::this_task::checkpoint();
    });
    fibers::this_task::yield();
    task.cancel(message);
    ended = how([&] { task.get(); });
  });
  CHECK(error == asio::error::operation_aborted);
  CHECK(read_ended == "returned 0");
  CHECK(ended == "cancelled: enough");
}

TEST_CASE_METHOD(network, "asio: an operation that cannot be cancelled is waited for") {
  std::string ended;
  bool completed = false;
  run([&] {
    asio::steady_timer timer(fibers::io_context(), 2ms);
    auto task = fibers::spawn([&] {
      asio::async_initiate<fibers::use_fiber_t const, void()>(
          [&](auto handler) {
            timer.async_wait([&completed, handler = std::move(handler)](error_code) mutable {
              completed = true;
              std::move(handler)();
            });
          },
          use_fiber);
      fibers::this_task::checkpoint();
    });
    fibers::this_task::yield();
    task.cancel(message);
    ended = how([&] { task.get(); });
  });
  CHECK(completed);
  CHECK(ended == "cancelled: enough");
}

// --- other threads ---

TEST_CASE_METHOD(network, "asio: an operation of another thread's io_context is cancelled on that thread") {
  std::string outcomes;
  asio::thread_pool pool(1);
  run([&] {
    for (int i = 0; i < 100; ++i) {
      auto task = fibers::spawn([&] {
        asio::steady_timer timer(pool, 1h);
        if (i % 2 == 0) {
          timer.async_wait(use_fiber);
        } else {
          timer.async_wait(asio::as_tuple(use_fiber));
        }
      });
      for (int yields = i % 3; yields > 0; --yields) fibers::this_task::yield();
      if (i % 5 == 0) std::this_thread::yield();
      task.cancel(message);
      auto const ended = how([&] { task.get(); });
      if (ended != "cancelled: enough") outcomes += ended + "; ";
    }
  });
  CHECK(outcomes == "");
}

TEST_CASE_METHOD(network, "asio: a completion on another thread races a request, and either wins") {
  int completed = 0, cancelled = 0, rounds = 0;
  asio::thread_pool pool(1);
  run([&] {
    for (; (completed < 10 || cancelled < 10) && rounds < 100'000; ++rounds) {
      auto task = fibers::spawn([&] {
        asio::steady_timer timer(pool, std::chrono::microseconds(rounds % 100));
        timer.async_wait(use_fiber);
        ++completed;
      });
      fibers::this_task::yield();
      fibers::sleep_for(std::chrono::microseconds(rounds % 90));
      task.cancel();
      task.wait();
      if (task.cancelled()) ++cancelled;
    }
  });
  CHECK(completed >= 10);
  CHECK(cancelled >= 10);
}

TEST_CASE_METHOD(network, "asio: requests of other threads race completions on the loop, and either wins") {
  int completed = 0, cancelled = 0, rounds = 0;
  run([&] {
    for (; (completed < 10 || cancelled < 10) && rounds < 20'000; ++rounds) {
      both_ends ends;
      char byte = 0;
      auto task = fibers::spawn([&] {
        ends.near.async_read_some(asio::buffer(&byte, 1), use_fiber);
        ++completed;
      });
      fibers::this_task::yield();
      std::thread other([&, handle = task.handle()]() mutable {
        if (rounds % 2 == 0) ::send(ends.far.native_handle(), "x", 1, 0);
        for (int i = rounds % 50; i > 0; --i) asm volatile("");
        handle.cancel();
        ::send(ends.far.native_handle(), "x", 1, 0);
      });
      task.wait();
      other.join();
      if (byte == 0) ++cancelled;
    }
  });
  CHECK(completed >= 10);
  CHECK(cancelled >= 10);
}

TEST_CASE_METHOD(network, "asio: the end of run() cancels operations, and waits for them") {
  int cancelled = 0;
  run([&] {
    for (auto const& operation : endless_operations()) {
      fibers::spawn([&cancelled, wait = operation.wait] {
        try {
          wait();
        } catch (cancelled_error const&) {
          ++cancelled;
          throw;
        }
      }).detach();
    }
    let_handlers_run();
  });
  CHECK(cancelled == static_cast<int>(endless_operations().size()));
}
