// SPDX-License-Identifier: BSL-1.0

// Tasks wait for futures of Boost.Fiber, and call other functions of it on Boost fibers.

#include <atomic>
#include <boost/fiber/future/async.hpp>
#include <boost/fiber/future/future.hpp>
#include <boost/fiber/future/promise.hpp>
#include <boost/fiber/mutex.hpp>
#include <fibers/boost_fiber.hpp>
#include <fibers/gather.hpp>
#include <fibers/race.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "boost_fibers.hpp"
#include "catch.hpp"

using namespace std::chrono_literals;
using boost::fibers::promise;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::boost_case;
using fibers::testing::how;
using fibers::testing::neighbour;
namespace boost_fiber = fibers::boost_fiber;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(boost_case, "boost_fiber: get() of a future returns its value, however it was set") {
  run([&] {
    auto future = boost::fibers::async([] { return std::make_unique<int>(7); });
    note(std::to_string(*boost_fiber::get(future)));
    note(future.valid() ? "valid" : "taken");

    promise<int&> reference;
    int target = 0;
    auto referring = reference.get_future();
    reference.set_value(target);
    note(&boost_fiber::get(referring) == &target ? "the same" : "another");

    note(how([] { boost_fiber::get(boost::fibers::async([] {})); }));
    note(how([] { boost_fiber::get(boost::fibers::async([] { throw std::runtime_error("no"); })); }));

    boost::fibers::shared_future<std::string> shared = boost::fibers::async([] { return std::string("all"); }).share();
    note(boost_fiber::get(shared) + boost_fiber::get(shared));

    promise<int> from_thread;
    auto later = from_thread.get_future();
    std::thread thread([&] { from_thread.set_value(8); });
    note(std::to_string(boost_fiber::get(later)));
    thread.join();
  });
  CHECK(happened == "7, taken, the same, returned, failed: no, allall, 8");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a future without a state, and a broken promise, are errors") {
  run([&] {
    boost::fibers::future<int> none;
    try {
      boost_fiber::wait(none);
    } catch (boost::fibers::future_uninitialized const&) {
      note("uninitialized");
    }
    auto kept = std::make_unique<promise<int>>();
    auto future = kept->get_future();
    auto waiting = spawn([&] { boost_fiber::get(future); });
    this_task::yield();
    kept.reset();
    try {
      waiting.get();
    } catch (boost::fibers::broken_promise const&) {
      note("broken");
    }
  });
  CHECK(happened == "uninitialized, broken");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a cancelled task has taken nothing, and the future stays valid") {
  run([&] {
    promise<int> promised;
    auto future = promised.get_future();
    auto waiting = spawn([&] { note(how([&] { return boost_fiber::get(future); })); });
    this_task::yield();
    bool const at_once = GENERATE(true, false);
    if (!at_once) boost_fiber::call([] { boost::this_fiber::yield(); });  // a Boost fiber waits by now
    waiting.cancel("enough");
    waiting.get();
    promised.set_value(3);
    note(std::to_string(boost_fiber::get(future)));
  });
  CHECK(happened == "cancelled: enough, 3");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a pending request is thrown though the future is ready") {
  run([&] {
    promise<int> promised;
    auto future = promised.get_future();
    promised.set_value(3);
    this_task::cancel();
    note(how([&] { return boost_fiber::get(future); }));
    note(how([&] { return boost_fiber::get(future); }));
    this_task::cancel();
    note(how([] { boost_fiber::call([] {}); }));
  });
  CHECK(happened == "cancelled, returned 3, cancelled");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a future that was cancelled, moved and destroyed leaves nothing behind") {
  promise<std::string> promised;
  run([&] {
    auto future = promised.get_future();
    fibers::move_on_after(1ms, [&] { boost_fiber::get(future); });
    auto moved = std::move(future);
    note(fibers::move_on_after(1ms, [&] { boost_fiber::wait(moved); }) ? "ready" : "late");
  });
  promised.set_value(std::string(100, 'x'));  // the Boost fiber that still waits receives it
  for (int i = 0; i < 3; ++i) boost::this_fiber::yield();
  CHECK(happened == "late");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: many waits for one future, most of them cancelled, need one Boost fiber") {
  run([&] {
    promise<int> promised;
    auto const future = promised.get_future().share();
    auto const watch = [&] {
      return fibers::detail::boost_host::here(BOOST_CURRENT_LOCATION)
          .future_watches()
          ->find(fibers::detail::state_of(future).get());
    };
    std::set<void const*> watches;
    for (int i = 0; i < 100; ++i) {
      auto waiting = spawn([&] { boost_fiber::wait(future); });
      this_task::yield();
      watches.insert(watch().get());
    }
    note(std::to_string(watches.size()));
    auto a = spawn([&] { note(std::to_string(boost_fiber::get(future))); });
    auto b = spawn([&] { note(std::to_string(boost_fiber::get(future))); });
    this_task::yield();
    promised.set_value(4);
    a.get();
    b.get();
    note(watch() == nullptr ? "none" : "one");
  });
  CHECK(happened == "1, 4, 4, none");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a future whose wait times out can be fetched later") {
  run([&] {
    promise<int> promised;
    auto future = promised.get_future();
    note(how([&] { fibers::with_timeout(1ms, [&] { boost_fiber::get(future); }); }).substr(0, 6));
    neighbour keeping([&] { promised.set_value(9); });
    note(how([&] { return fibers::with_timeout(1h, [&] { return boost_fiber::get(future); }); }));
    boost_fiber::call([&] { keeping.join(); });
  });
  CHECK(happened == "failed, returned 9");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: the value races the cancellation, and each wins sometimes", "[race]") {
  std::set<std::string> winners;
  for (int i = 0; i < 100'000 && winners.size() < 2; ++i) {
    run([&] {
      auto promised = std::make_shared<promise<int>>();
      auto future = promised->get_future();
      std::string winner;
      auto waiting = spawn([&] { winner = how([&] { return boost_fiber::get(future); }); });
      this_task::yield();
      std::thread keeping([promised] { promised->set_value(1); });
      for (int n = i % 50 * 100; n > 0; --n) this_task::yield();
      waiting.cancel();
      waiting.wait();
      keeping.join();
      if (winner == "cancelled" && boost_fiber::get(future) != 1) winner = "lost";
      winners.insert(winner);
    });
  }
  CHECK(winners == std::set<std::string>{"cancelled", "returned 1"});
}

TEST_CASE_METHOD(boost_case, "boost_fiber: futures work in groups, races and shields") {
  run([&] {
    promise<int> never;
    auto slow = never.get_future();
    note(std::to_string(fibers::race([&] { return boost_fiber::get(slow); },
                                     [] { return boost_fiber::get(boost::fibers::async([] { return 1; })); })));
    auto [a, b] = fibers::gather([] { return boost_fiber::get(boost::fibers::async([] { return 2; })); },
                                 [] { return boost_fiber::get(boost::fibers::async([] { return 3; })); });
    note(std::to_string(a) + std::to_string(b));
    this_task::cancel();
    note(how(
        [] { return fibers::with_shield([] { return boost_fiber::get(boost::fibers::async([] { return 4; })); }); }));
    note(how([] { this_task::yield(); }));
    never.set_value(0);
  });
  CHECK(happened == "1, 23, returned 4, cancelled");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a destructor waits for a future while a request is pending") {
  struct waits {
    boost::fibers::future<int>& future;
    boost_case& test;
    std::string& out;
    ~waits() {
      out = how([this] { return boost_fiber::get(future); });
    }
  };
  std::string out;
  run([&] {
    promise<int> promised;
    auto future = promised.get_future();
    auto waiting = spawn([&] {
      waits const last{future, *this, out};
      sleep_for(1h);
    });
    this_task::yield();
    waiting.cancel();
    this_task::yield();
    waiting.cancel();  // arrives during unwinding, and stays pending
    promised.set_value(5);
    waiting.wait();
  });
  CHECK(out == "returned 5");
}

TEST_CASE("boost_fiber: get() does not block the loop, though other threads access the future", "[race]") {
  std::atomic<bool> over = false;
  long refused = 0, got = 0;
  promise<int> promised;
  auto const future = promised.get_future().share();
  promised.set_value(5);
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&over, future] {
      while (!over) future.wait_for(0s);
    });
  }
  {
    neighbour const beside([&] {
      for (; !over; boost::this_fiber::yield()) {
        try {
          fibers::run([] {});
        } catch (fibers::invalid_state_error const&) {  // a loop has been blocked
          ++refused;
        }
      }
    });
    fibers::run([&] {
      for (int i = 0; i < 1000; ++i) got += boost_fiber::get(future);
    });
    over = true;
  }
  for (auto& other : others) other.join();
  CHECK(got == 5000);
  CHECK(refused == 0);
}

TEST_CASE("boost_fiber: a thread ends soon though a promise that it no longer waits for is never kept") {
  promise<int> promised;
  auto future = promised.get_future();
  std::string out;
  std::atomic<bool> ended = false;
  std::thread waits([&] {
    fibers::testing::on_a_thread([&] {
      fibers::run([&] { out = how([&] { fibers::with_timeout(1ms, [&] { boost_fiber::get(future); }); }); });
    });
    ended = true;
  });
  for (int i = 0; i < 500 && !ended; ++i) std::this_thread::sleep_for(20ms);
  CHECK(ended);
  promised.set_value(1);
  waits.join();
  CHECK(out.starts_with("failed: timed out"));
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a second wait for a future finds the value that arrived between the waits") {
  promise<int> promised;
  auto future = promised.get_future();
  fibers::run([&] {  // in real time: the Boost fiber that waits for the task's sake ends meanwhile
    CHECK_FALSE(fibers::move_on_after(1ms, [&] { boost_fiber::get(future); }));
    sleep_for(300ms);
    auto waiting = spawn([&] { note(how([&] { return boost_fiber::get(future); })); });
    this_task::yield();
    promised.set_value(5);
    waiting.wait();
  });
  CHECK(happened == "returned 5");
}

// --- call ---

TEST_CASE_METHOD(boost_case, "boost_fiber: call() returns what its callable returns, and other tasks run meanwhile") {
  boost::fibers::mutex mutex;
  run([&] {
    auto beside = spawn([&] { note("beside"); });
    note(std::to_string(boost_fiber::call([&] {
      std::scoped_lock const lock(mutex);
      boost::this_fiber::yield();
      return 5;
    })));
    note(how([] { boost_fiber::call([] { throw std::runtime_error("no"); }); }));
    note(*boost_fiber::call([] { return std::make_unique<std::string>("moved"); }));
    int target = 0;
    note(&boost_fiber::call([&]() -> int& { return target; }) == &target ? "the same" : "another");
    note(how([] { boost_fiber::call(std::function<void()>()); }).substr(0, 16));
  });
  CHECK(happened == "beside, 5, failed: no, moved, the same, failed: fibers: ");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a call has a stack of the size of a task's") {
  long sum = 0;
  auto const deep = [&] {
    volatile char room[200 * 1024];
    for (std::size_t i = 0; i < sizeof room; i += 512) room[i] = 1;
    for (std::size_t i = 0; i < sizeof room; i += 512) sum += room[i];
  };
  run([&] {
    spawn(deep).get();
    boost_fiber::call(deep);
  });
  CHECK(sum == 2 * 400);
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a call cannot be cancelled, and the request is delivered after it") {
  run([&] {
    bool go = false;
    auto calling = spawn([&] {
      note(how([&] {
        return boost_fiber::call([&] {
          while (!go) boost::this_fiber::yield();
          return 1;
        });
      }));
      note(how([] { this_task::yield(); }));
    });
    this_task::yield();
    calling.cancel();
    for (int i = 0; i < 10; ++i) boost_fiber::call([] { boost::this_fiber::yield(); });
    note(calling.done() ? "over" : "waits");
    go = true;
    calling.wait();
  });
  CHECK(happened == "waits, returned 1, cancelled");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a call that takes a stop_token is notified of the request") {
  run([&] {
    auto calling = spawn([&] {
      return boost_fiber::call([](std::stop_token stop) {
        int turns = 0;
        for (; !stop.stop_requested(); ++turns) boost::this_fiber::yield();
        return turns;
      });
    });
    boost_fiber::call([] { boost::this_fiber::yield(); });
    auto const late = how([&] { fibers::with_timeout(1ms, [&] { calling.get(); }); });
    note(late.substr(0, 6));
    note(calling.done() ? "over" : "waits");
  });
  CHECK(happened == "return, over");  // the returned value is the result, though it was late
}
