// SPDX-License-Identifier: BSL-1.0
#include <boost/asio.hpp>
#include <fibers/event.hpp>
#include <fibers/queue.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

#include "network.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using boost::system::error_code;
using boost::system::system_error;
using Catch::Matchers::ContainsSubstring;
using fibers::use_fiber;

namespace {

// An operation that completes with these arguments, from a handler of the loop or at once.
template <class Signature, class Token, class... Given>
auto async_give(bool at_once, Token&& token, Given... given) {
  return asio::async_initiate<Token, Signature>(
      [at_once](auto handler, auto... values) {
        if (at_once) {
          std::move(handler)(std::move(values)...);
        } else {
          asio::post(fibers::io_context(),
                     [handler = std::move(handler), values = std::make_tuple(std::move(values)...)]() mutable {
                       std::apply([&](auto&... v) { std::move(handler)(std::move(v)...); }, values);
                     });
        }
      },
      token, std::move(given)...);
}

error_code const refused = asio::error::connection_refused;

// Returns the thread on which the operation completed.
template <class Pool>
std::thread::id thread_of(Pool& pool) {
  return asio::async_initiate<fibers::use_fiber_t const, void(std::thread::id)>(
      [&pool](auto handler) {
        asio::post(pool, [handler = std::move(handler)]() mutable { std::move(handler)(std::this_thread::get_id()); });
      },
      use_fiber);
}

}  // namespace

TEST_CASE_METHOD(network,
                 "asio: an operation returns what its handler would be given, whether it completes at once or later") {
  bool const at_once = GENERATE(true, false);
  std::string nothing, no_error, one, text;
  std::tuple<int, std::string> several;
  std::unique_ptr<int> moved, moved_after_error;
  std::tuple<std::unique_ptr<int>, int> moved_in_tuple;
  run([&] {
    static_assert(std::is_void_v<decltype(async_give<void()>(true, use_fiber))>);
    nothing = how([&] { async_give<void()>(at_once, use_fiber); });
    no_error = how([&] { async_give<void(error_code)>(at_once, use_fiber, error_code()); });
    one = how([&] { return async_give<void(error_code, int)>(at_once, use_fiber, error_code(), 5); });
    text = async_give<void(std::string)>(at_once, use_fiber, std::string("text"));
    several = async_give<void(error_code, int, std::string)>(at_once, use_fiber, error_code(), 7, std::string("seven"));
    moved = async_give<void(std::unique_ptr<int>)>(at_once, use_fiber, std::make_unique<int>(1));
    moved_after_error = async_give<void(std::exception_ptr, std::unique_ptr<int>)>(
        at_once, use_fiber, std::exception_ptr(), std::make_unique<int>(2));
    moved_in_tuple = async_give<void(error_code, std::unique_ptr<int>, int)>(at_once, use_fiber, error_code(),
                                                                             std::make_unique<int>(3), 4);
  });
  CHECK(nothing == "returned");
  CHECK(no_error == "returned");
  CHECK(one == "returned 5");
  CHECK(text == "text");
  CHECK(several == std::tuple(7, std::string("seven")));
  CHECK(*moved == 1);
  CHECK(*moved_after_error == 2);
  CHECK(*std::get<0>(moved_in_tuple) == 3);
  CHECK(std::get<1>(moved_in_tuple) == 4);
}

TEST_CASE_METHOD(network, "asio: an error is thrown: an error_code as system_error, an exception as it is") {
  bool const at_once = GENERATE(true, false);
  std::optional<error_code> thrown;
  std::string exception;
  run([&] {
    try {
      async_give<void(error_code, int)>(at_once, use_fiber, refused, 5);
    } catch (system_error const& error) {
      thrown = error.code();
    }
    exception = how([&] {
      async_give<void(std::exception_ptr)>(at_once, use_fiber, std::make_exception_ptr(std::runtime_error("broken")));
    });
  });
  CHECK(thrown == refused);
  CHECK(exception == "failed: broken");
}

TEST_CASE_METHOD(network, "asio: the error goes into brackets, a tuple or a variable instead, with the value") {
  bool const at_once = GENERATE(true, false);
  error_code in_brackets, redirected, cleared = refused, unused = refused;
  int value = 0, other = 0;
  std::tuple<error_code, int> tuple;
  run([&] {
    value = async_give<void(error_code, int)>(at_once, use_fiber[in_brackets], refused, 5);
    async_give<void(error_code)>(at_once, use_fiber[cleared], error_code());
    async_give<void(int)>(at_once, use_fiber[unused], 1);
    tuple = async_give<void(error_code, int)>(at_once, asio::as_tuple(use_fiber), refused, 6);
    other = async_give<void(error_code, int)>(at_once, asio::redirect_error(use_fiber, redirected), refused, 7);
  });
  CHECK(in_brackets == refused);
  CHECK(value == 5);
  CHECK_FALSE(cleared);
  CHECK_FALSE(unused);
  CHECK(tuple == std::tuple(refused, 6));
  CHECK(redirected == refused);
  CHECK(other == 7);
}

TEST_CASE_METHOD(network, "asio: use_fiber can be the default token of I/O objects") {
  std::string got;
  run([&] {
    using socket = fibers::use_fiber_t::as_default_on_t<local::socket>;
    socket near(fibers::io_context());
    local::socket other_end(fibers::io_context());
    asio::local::connect_pair(near, other_end);
    auto far = fibers::use_fiber_t::as_default_on(std::move(other_end));
    auto const writer = fibers::spawn([&] {
      asio::async_write(near, asio::buffer("hello", 5));
      near.close();
    });
    got.resize(5);
    asio::async_read(far, asio::buffer(got));
  });
  CHECK(got == "hello");
}

TEST_CASE_METHOD(network, "asio: use_fiber works with other adapters") {
  int bound = 0;
  std::tuple<int, int> appended;
  bool in_strand = false;
  run([&] {
    auto strand = asio::make_strand(fibers::io_context());
    asio::post(asio::bind_executor(strand, use_fiber));
    in_strand = how([&] { asio::post(strand, use_fiber); }) == "returned";
    bound = async_give<void(int)>(false, asio::bind_executor(strand, use_fiber), 1);
    appended = async_give<void(int)>(false, asio::append(use_fiber, 2), 1);
    asio::deferred(asio::post(fibers::io_context(), asio::deferred))(use_fiber);
  });
  CHECK(in_strand);
  CHECK(bound == 1);
  CHECK(appended == std::tuple(1, 2));
}

TEST_CASE_METHOD(network, "asio: tasks exchange bytes") {
  auto const sent = numbered(1'000'000);
  std::string got;
  run([&] {
    both_ends ends;
    auto const writer = fibers::spawn([&] {
      asio::async_write(ends.near, asio::buffer(sent), use_fiber);
      ends.near.close();
    });
    got = read_to_end(ends.far);
  });
  CHECK(got == sent);
}

TEST_CASE_METHOD(network, "asio: async_read_until reads line by line") {
  std::vector<std::string> lines;
  run([&] {
    both_ends ends;
    asio::async_write(ends.near, asio::buffer(std::string("one\ntwo\nthree\n")), use_fiber);
    ends.near.close();
    std::string buffer;
    error_code error;
    for (;;) {
      auto const size = asio::async_read_until(ends.far, asio::dynamic_buffer(buffer), '\n', use_fiber[error]);
      if (error) break;
      lines.push_back(buffer.substr(0, size));
      buffer.erase(0, size);
    }
  });
  CHECK(lines == std::vector<std::string>{"one\n", "two\n", "three\n"});
}

TEST_CASE("asio: outside a task the token throws an error that says what is missing") {
  asio::io_context context;
  asio::steady_timer timer(context, 0s);
  CHECK_THROWS_WITH(timer.async_wait(use_fiber), ContainsSubstring("call it inside of fibers::run"));
  CHECK_THROWS_WITH(fibers::io_context(), ContainsSubstring("call it inside of fibers::run"));
}

TEST_CASE_METHOD(network, "asio: a handler on the loop is not a task") {
  std::string told;
  run([&] {
    fibers::event done;
    asio::post(fibers::io_context(), [&] {
      told = how([&] { asio::post(fibers::io_context(), use_fiber); });
      done.set();
    });
    done.wait();
  });
  CHECK_THAT(told, ContainsSubstring("a callback runs between tasks; spawn one in it"));
}

TEST_CASE_METHOD(network, "asio: an operation whose handler is destroyed throws an error, and does not hang") {
  std::string told;
  run([&] {
    auto elsewhere = std::make_unique<asio::io_context>();
    auto timer = std::make_unique<asio::steady_timer>(*elsewhere, 1h);
    auto const waiter = fibers::spawn([&] { told = how([&] { timer->async_wait(use_fiber); }); });
    fibers::this_task::yield();
    timer.reset();  // aborts it, but no thread runs the handler
    elsewhere.reset();
    waiter.handle().wait();
  });
  CHECK_THAT(told, ContainsSubstring("dropped before it was completed"));
}

// --- the loop and its io_context ---

TEST_CASE_METHOD(network, "asio: the io_context of a loop is always the same") {
  bool same = false;
  run([&] { same = &fibers::io_context() == &fibers::io_context(); });
  CHECK(same);
}

TEST_CASE_METHOD(network, "asio: timers of tasks and of Asio end the loop's sleep in its io_context") {
  bool timely = false;
  run([&] {
    auto const start = std::chrono::steady_clock::now();
    fibers::io_context();
    fibers::sleep_for(2ms);
    asio::steady_timer(fibers::io_context(), 2ms).async_wait(use_fiber);
    timely = std::chrono::steady_clock::now() - start >= 4ms;
  });
  CHECK(timely);
}

TEST_CASE_METHOD(
    network, "asio: a handler posted by another thread wakes the sleeping loop, and so does a task of another loop") {
  int posted = 0, put = 0;
  std::thread other;
  run([&] {
    auto& context = fibers::io_context();
    fibers::queue<int> queue;
    fibers::event done;
    auto const work = asio::make_work_guard(context);
    other = std::thread([&] {
      for (int i = 0; i < 100; ++i) {
        asio::post(context, [&] {
          if (++posted == 100) done.set();
        });
      }
      fibers::run([&] {
        for (int i = 0; i < 1000; ++i) queue.put(i);
        queue.shutdown();
      });
    });
    done.wait();
    try {
      for (;;) put += queue.get() >= 0 ? 1 : 0;
    } catch (fibers::queue_shut_down const&) {
    }
  });
  other.join();
  CHECK(posted == 100);
  CHECK(put == 1000);
}

TEST_CASE_METHOD(network,
                 "asio: a loop that other threads wake in turn misses no wake-up, asleep in its io_context or awake") {
  constexpr int rounds = 2000;
  int turns = 0;
  std::thread other;
  run([&] {
    fibers::io_context();
    fibers::queue<int> ping(1), pong(1);
    other = std::thread([&] {
      fibers::run([&] {
        for (int i = 0; i < rounds; ++i) pong.put(ping.get());
      });
    });
    for (int i = 0; i < rounds; ++i) {
      ping.put(i);
      turns += pong.get() == i ? 1 : 0;
    }
  });
  other.join();
  CHECK(turns == rounds);
}

TEST_CASE_METHOD(network, "asio: busy tasks do not starve handlers") {
  bool served = false;
  run([&] {
    asio::post(fibers::io_context(), [&] { served = true; });
    auto const busy = fibers::spawn([&] {
      while (!served) fibers::this_task::yield();
    });
    while (!served) fibers::this_task::yield();
  });
  CHECK(served);
}

TEST_CASE_METHOD(network, "asio: operations that complete at once yield to other tasks") {
  bool other_ran = false;
  int operations = 0;
  run([&] {
    auto const other = fibers::spawn([&] { other_ran = true; });
    while (!other_ran && operations < 10'000) {
      async_give<void()>(true, use_fiber);
      ++operations;
    }
  });
  CHECK(other_ran);
  CHECK(operations > 1);
}

TEST_CASE_METHOD(network, "asio: a handler that throws is reported, and the loop continues") {
  bool after = false;
  run([&] {
    fibers::event done;
    asio::post(fibers::io_context(), [] { throw std::runtime_error("broken"); });
    asio::post(fibers::io_context(), [&] {
      after = true;
      done.set();
    });
    done.wait();
  });
  CHECK(after);
  CHECK(unfetched == std::vector<std::string>{"a handler of Asio: failed: broken"});
  unfetched.clear();
}

TEST_CASE_METHOD(network, "asio: stop() does not end the loop") {
  std::string ended;
  run([&] {
    both_ends ends;
    fibers::io_context().stop();
    auto const writer = fibers::spawn([&] { ends.near.close(); });
    ended = read_to_end(ends.far) + "end";
  });
  CHECK(ended == "end");
}

TEST_CASE_METHOD(network, "asio: handlers that still wait when the loop ends are destroyed, and not called") {
  bool called = false;
  run([&] {
    auto const timer = std::make_shared<asio::steady_timer>(fibers::io_context(), 1h);
    timer->async_wait([timer, &called, mark = counted()](error_code) { called = true; });
  });
  CHECK_FALSE(called);
}

TEST_CASE_METHOD(network,
                 "asio: a loop on the user's io_context runs its handlers, and leaves the remaining ones to the user") {
  std::string order;
  asio::io_context context;
  asio::post(context, [&] { order += "before "; });
  auto const result = fibers::run_on(context, options(), [&] {
    asio::post(context, use_fiber);
    order += &fibers::io_context() == &context ? "main " : "elsewhere ";
    asio::post(context, [&] { order += "after"; });
    return 5;
  });
  CHECK(result == 5);
  CHECK(order == "before main ");
  context.restart();
  context.run();
  CHECK(order == "before main after");
}

TEST_CASE_METHOD(network, "asio: loops may run on the same io_context one after the other") {
  asio::io_context context;
  int sum = 0;
  for (int i = 0; i < 3; ++i) {
    sum += fibers::run_on(context, [&] { return async_give<void(int)>(false, use_fiber, i); });
  }
  CHECK(sum == 3);
  context.restart();
  CHECK(context.run() > 0);  // runs only what the bells have left
}

// --- virtual time ---

TEST_CASE_METHOD(network, "asio: in virtual time the clock jumps while no operation is under way") {
  auto const start = std::chrono::steady_clock::now();
  fibers::duration passed{};
  fibers::run(options(fibers::clock_kind::virtual_time), [&] {
    fibers::io_context();
    auto const before = fibers::clock::now();
    fibers::sleep_for(1h);
    passed = fibers::clock::now() - before;
  });
  CHECK(passed == 1h);
  CHECK(std::chrono::steady_clock::now() - start < 1h);
}

TEST_CASE_METHOD(network, "asio: in virtual time the clock follows the real one while an operation is under way") {
  bool in_task = GENERATE(true, false);
  fibers::duration passed{}, real{};
  fibers::run(options(fibers::clock_kind::virtual_time), [&] {
    asio::steady_timer timer(fibers::io_context(), 10ms);
    auto const start = fibers::clock::now();
    auto const real_start = std::chrono::steady_clock::now();
    fibers::event due;
    if (!in_task) timer.async_wait([&](error_code) { due.set(); });
    fibers::move_on_after(1h, [&] { in_task ? timer.async_wait(use_fiber) : due.wait(); });
    passed = fibers::clock::now() - start;
    real = std::chrono::steady_clock::now() - real_start;
  });
  CHECK(passed > 0ms);
  CHECK(passed <= real);
}

TEST_CASE_METHOD(network,
                 "asio: in virtual time a deadline ends an operation when it is due, and then time jumps again") {
  fibers::duration passed{};
  fibers::run(options(fibers::clock_kind::virtual_time), [&] {
    both_ends ends;
    char byte;
    auto const start = fibers::clock::now();
    fibers::move_on_after(5ms, [&] { ends.near.async_read_some(asio::buffer(&byte, 1), use_fiber); });
    fibers::sleep_for(1h);
    passed = fibers::clock::now() - start;
  });
  CHECK(passed >= 1h + 5ms);  // and the time needed to abort the operation
  CHECK(passed < 2h);
}

TEST_CASE_METHOD(
    network,
    "asio: in virtual time an operation under way prevents a deadlock report, which comes when there is none") {
  std::string ended;
  fibers::run(options(fibers::clock_kind::virtual_time), [&] {
    fibers::event never, done;
    auto timer = std::make_shared<asio::steady_timer>(fibers::io_context(), 2ms);
    timer->async_wait([&, timer](error_code) { done.set(); });
    done.wait();
    ended = how([&] { never.wait(); });
  });
  CHECK_THAT(ended, ContainsSubstring("deadlock"));
}

// --- other threads ---

TEST_CASE_METHOD(network, "asio: another thread may complete an operation") {
  int ran_there = 0;
  asio::thread_pool pool(2);
  auto const here = std::this_thread::get_id();
  bool const with_own_context = GENERATE(true, false);
  run([&] {
    if (with_own_context) fibers::io_context();
    for (int i = 0; i < 200; ++i) {
      ran_there += thread_of(pool) != here ? 1 : 0;
    }
  });
  CHECK(ran_there == 200);
}

TEST_CASE_METHOD(network, "asio: many tasks wait for timers of another thread") {
  constexpr int count = 200;
  int fired = 0;
  asio::thread_pool pool(2);
  run([&] {
    fibers::with_task_group([&](fibers::task_group& group) {
      for (int i = 0; i < count; ++i) {
        group.spawn([&, i] {
          asio::steady_timer timer(pool, std::chrono::microseconds(i * 10));
          timer.async_wait(use_fiber);
          ++fired;
        });
      }
    });
  });
  CHECK(fired == count);
}

TEST_CASE_METHOD(network, "asio: in virtual time an operation of another thread is waited for in real time") {
  fibers::duration passed{};
  asio::thread_pool pool(1);
  fibers::run(options(fibers::clock_kind::virtual_time), [&] {
    asio::steady_timer timer(pool, 5ms);
    auto const start = fibers::clock::now();
    auto const sleeper = fibers::spawn([] { fibers::sleep_for(1h); });
    timer.async_wait(use_fiber);
    passed = fibers::clock::now() - start;
  });
  CHECK(passed > 0ms);
  CHECK(passed < 1h);
}

TEST_CASE_METHOD(network, "asio: a handler that posts itself for ever does not starve tasks") {
  int steps = 0;
  bool stop = false;
  run([&] {
    auto& context = fibers::io_context();
    std::function<void()> again = [&] {
      if (!stop) asio::post(context, again);
    };
    again();
    auto other = fibers::spawn([&] {
      for (; steps < 200; ++steps) fibers::this_task::yield();
    });
    for (int i = 0; i < 3; ++i) asio::post(context, use_fiber);
    other.get();
    stop = true;
  });
  CHECK(steps == 200);
}

TEST_CASE_METHOD(network, "asio: handlers that a loop leaves in a user's io_context do not stop the loop later") {
  asio::io_context context;
  int handled = 0;
  std::function<void()> often = [&] {
    if (++handled % 10 != 0) asio::post(context, often);
  };
  for (int round = 0; round < 20; ++round) {
    asio::post(context, often);
    asio::post(context, [] { throw std::runtime_error("of a handler"); });
    fibers::run_on(context, options(), [] { fibers::this_task::yield(); });
    unfetched.clear();
  }
  auto const before = handled;
  asio::post(context, often);
  for (bool more = true; more;) {
    try {
      more = context.run_one() != 0;
    } catch (std::runtime_error const&) {  // thrown by a handler that the loop had left
    }
  }
  CHECK(handled % 10 == 0);
  CHECK(handled > before);
}
