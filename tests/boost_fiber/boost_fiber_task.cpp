// SPDX-License-Identifier: BSL-1.0

// Boost fibers wait for tasks, and cancel them.

#include <atomic>
#include <boost/fiber/operations.hpp>
#include <fibers/boost_fiber.hpp>
#include <fibers/event.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "boost_fibers.hpp"
#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::event;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task_handle;
using fibers::testing::boost_case;
using fibers::testing::how;
using fibers::testing::neighbour;
using fibers::testing::on_a_thread;
namespace boost_fiber = fibers::boost_fiber;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(boost_case, "boost_fiber: a Boost fiber waits for tasks of its own thread, and gets their outcomes") {
  event go;
  task_handle<int> works;
  task_handle<std::string> fails;
  task_handle<> waits;
  neighbour beside([&] {
    while (!waits) boost::this_fiber::yield();
    go.set();
    note(how([&] { return boost_fiber::get(works); }));
    note(how([&] { return boost_fiber::get(works); }));
    note(how([&] { return boost_fiber::get(fails); }));
    note(waits.cancel("by a neighbour") ? "asked" : "too late");
    note(how([&] { boost_fiber::wait(waits); }));
    note(how([&] { boost_fiber::get(waits); }));
  });
  fibers::run([&] {
    auto a = spawn([&] {
      go.wait();
      return 5;
    });
    auto b = spawn([&]() -> std::string {
      go.wait();
      throw std::runtime_error("no");
    });
    auto c = spawn([] { sleep_for(fibers::no_timeout); });
    works = a.handle();
    fails = b.handle();
    waits = c.handle();
    boost_fiber::call([&] { beside.join(); });
  });
  CHECK(happened == "returned 5, returned 5, failed: no, asked, returned, cancelled: by a neighbour");
}

TEST_CASE_METHOD(boost_case,
                 "boost_fiber: a Boost fiber of another thread waits for tasks, also after the loop has ended") {
  std::atomic<bool> ready = false;
  task_handle<int> handle;
  std::string during, after;
  std::thread other([&] {
    while (!ready) boost::this_fiber::yield();
    during = how([&] { return boost_fiber::get(handle); });
  });
  fibers::run([&] {
    auto task = spawn([] {
      sleep_for(2ms);
      return 6;
    });
    handle = task.handle();
    ready = true;
    task.wait();
  });
  other.join();
  on_a_thread([&] { after = how([&] { return boost_fiber::get(handle); }); });
  CHECK(during == "returned 6");
  CHECK(after == "returned 6");
}

TEST_CASE_METHOD(boost_case,
                 "boost_fiber: a Boost fiber that destroys a task<> suspends alone until the task has ended") {
  auto const slow_to_end = [&] {
    try {
      sleep_for(1h);
    } catch (fibers::cancelled_error const&) {
      fibers::with_shield([] { sleep_for(20ms); });
      note("ended");
      throw;
    }
  };
  auto const let_go = [](fibers::task<void> owned) {
    int turns = 0;
    bool gone = false;
    neighbour const beside([&] {
      while (!gone) {
        boost::this_fiber::sleep_for(1ms);
        ++turns;
      }
    });
    owned = {};
    gone = true;
    return turns > 0;
  };
  fibers::run([&] {
    auto owned = spawn(slow_to_end);
    this_task::yield();
    note(boost_fiber::call([&] { return let_go(std::move(owned)); }) ? "here others went on" : "here all stopped");

    owned = spawn(slow_to_end);
    this_task::yield();
    std::atomic<bool> over = false;
    bool went_on = false;
    std::thread elsewhere([&, mine = std::move(owned)]() mutable {
      went_on = let_go(std::move(mine));
      over = true;
    });
    boost_fiber::call([&] {
      while (!over) boost::this_fiber::sleep_for(1ms);
    });
    elsewhere.join();
    note(went_on ? "there others went on" : "there all stopped");
  });
  CHECK(happened == "ended, here others went on, ended, there others went on");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: several Boost fibers wait for one task") {
  task_handle<int> handle;
  std::vector<neighbour> waiting;
  int sum = 0;
  for (int i = 0; i < 5; ++i) {
    waiting.emplace_back([&] {
      while (!handle) boost::this_fiber::yield();
      sum += boost_fiber::get(handle);
    });
  }
  fibers::run([&] {
    auto task = spawn([] {
      sleep_for(1ms);
      return 2;
    });
    handle = task.handle();
    task.wait();
  });
  waiting.clear();
  CHECK(sum == 10);
}

TEST_CASE("boost_fiber: a Boost fiber that waits for a task abandoned in a deadlock gets an error") {
  task_handle<> handle;
  std::string ended;
  neighbour waiting([&] {
    while (!handle) boost::this_fiber::yield();
    ended = how([&] { boost_fiber::get(handle); }).substr(0, 16);
  });
  fibers::run_options const options{.clock = fibers::clock_kind::virtual_time,
                                    .shutdown_report_after = fibers::no_timeout,
                                    .on_unhandled = [](auto const&, auto const&) {}};
  auto const run_ended = how([&] {
    fibers::run(options, [&] {
      auto task = spawn([] {
        for (;;) {
          try {
            sleep_for(fibers::no_timeout);
          } catch (...) {
          }
        }
      });
      handle = task.detach();
      for (int i = 0; i < 3; ++i) boost_fiber::call([] { boost::this_fiber::yield(); });
    });
  });
  waiting.join();
  CHECK(run_ended.substr(0, 16) == "failed: deadlock");
  CHECK(ended == "failed: deadlock");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: in a task or a callback such a wait says what to do instead") {
  std::string in_task, in_callback;
  fibers::run([&] {
    auto task = spawn([] {});
    auto const handle = task.handle();
    in_task = how([&] { boost_fiber::get(handle); });
    task.on_done([&] { in_callback = how([&] { boost_fiber::wait(handle); }); });
    task.get();
  });
  CHECK(in_task.find("call the task's own wait() or get()") != std::string::npos);
  CHECK(in_task.find("boost_fiber_task.cpp:") != std::string::npos);
  CHECK(in_callback.find("a callback, which must not wait") != std::string::npos);
}

TEST_CASE_METHOD(boost_case, "boost_fiber: waiting for an empty handle is refused") {
  CHECK(how([] { boost_fiber::wait(task_handle<int>()); }).find("empty") != std::string::npos);
}

TEST_CASE("boost_fiber: a task ends while a Boost fiber of another thread begins to wait, in either order", "[race]") {
  std::set<bool> was_done;
  for (int i = 0; i < 100'000 && was_done.size() < 2; ++i) {
    std::atomic<bool> ready = false;
    std::atomic<bool> done = false;
    task_handle<int> handle;
    std::thread other([&] {
      while (!ready) {
      }
      done = handle.done();
      boost_fiber::wait(handle);
    });
    fibers::run([&] {
      auto task = spawn([i] {
        for (int n = i % 200; n > 0; --n) this_task::yield();
        return 1;
      });
      handle = task.handle();
      ready = true;
      task.wait();
    });
    other.join();
    was_done.insert(done);
  }
  CHECK(was_done.size() == 2);
}
