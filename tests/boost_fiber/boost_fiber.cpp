// SPDX-License-Identifier: BSL-1.0

// A loop on a Boost fiber: it sleeps without blocking other Boost fibers, and works without starving them.

#include <atomic>
#include <boost/fiber/future/async.hpp>
#include <csignal>
#include <fibers/boost_fiber.hpp>
#include <fibers/detail/engine/this_loop.hpp>
#include <fibers/event.hpp>
#include <fibers/queue.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "boost_fibers.hpp"
#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::clock_kind;
using fibers::event;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::boost_case;
using fibers::testing::how;
using fibers::testing::neighbour;
using fibers::testing::on_a_thread;
namespace this_task = fibers::this_task;

TEST_CASE_METHOD(boost_case, "boost_fiber: run() returns what main returns, on the main fiber and on any other") {
  CHECK(fibers::run([] { return 5; }) == 5);
  CHECK(how([] { fibers::run([] { throw std::runtime_error("no"); }); }) == "failed: no");
  std::string on_another;
  neighbour([&] { on_another = how([] { return fibers::run([] { return 6; }); }); }).join();
  CHECK(on_another == "returned 6");
}

TEST_CASE("boost_fiber: other Boost fibers run while the loop is idle") {
  event done;
  int steps = 0;
  neighbour const busy([&] {
    for (; steps < 1000; ++steps) boost::this_fiber::yield();
    done.set();
  });
  fibers::run([&] { done.wait(); });
  CHECK(steps == 1000);
}

TEST_CASE("boost_fiber: other Boost fibers run while the loop is busy") {
  int steps = 0;
  neighbour const busy([&] {
    for (; steps < 1000; ++steps) boost::this_fiber::yield();
  });
  fibers::run([&] {
    auto other = spawn([&] {
      while (steps < 1000) this_task::yield();
    });
    while (steps < 1000) this_task::yield();
    other.get();
  });
  CHECK(steps == 1000);
}

TEST_CASE("boost_fiber: other Boost fibers run while another thread posts without pause") {
  std::atomic<int> steps = 0;
  neighbour const busy([&] {
    for (; steps < 1000; ++steps) boost::this_fiber::yield();
  });
  std::thread poster;
  fibers::run([&] {
    event rung;
    poster = std::thread([&] {
      while (steps < 1000) rung.set();
      rung.set();
    });
    while (steps < 1000) {
      rung.wait();
      rung.clear();
    }
    poster.join();
  });
  CHECK(steps == 1000);
}

TEST_CASE("boost_fiber: other Boost fibers run beside a loop that is always woken before it sleeps") {
  fibers::detail::boost_sleeper sleeper;
  int steps = 0;
  neighbour const busy([&] {
    for (; steps < 10; ++steps) boost::this_fiber::yield();
  });
  while (steps < 10) {
    sleeper.wake();
    sleeper.sleep(fibers::time_point::max());
  }
  CHECK(steps == 10);
}

TEST_CASE("boost_fiber: an idle loop uses no processor time") {
  auto const start = std::chrono::steady_clock::now();
  auto const used_before = fibers::testing::processor_time();
  fibers::run([] { sleep_for(100ms); });
  auto const used = fibers::testing::processor_time() - used_before;
  auto const passed = std::chrono::steady_clock::now() - start;
  CHECK(passed >= 100ms);
  CHECK(used < passed / 5);
}

TEST_CASE("boost_fiber: a loop does not sleep if its deadline has passed") {
  fibers::detail::boost_sleeper sleeper;
  for (auto const past : {fibers::time_point{}, fibers::time_point::min(), std::chrono::steady_clock::now()}) {
    sleeper.sleep(past);
  }
  fibers::run([] { CHECK_FALSE(fibers::move_on_after(-1s, [] { sleep_for(1h); })); });
}

TEST_CASE("boost_fiber: several loops on one thread, each on its Boost fiber, wait for each other") {
  fibers::queue<int> ping(1), pong(1);
  std::vector<int> got;
  {
    neighbour const player([&] {
      fibers::run([&] {
        for (auto const number : ping) pong.put(number + 1);
        pong.shutdown();
      });
    });
    neighbour const bystander([&] {
      fibers::run([&] {
        for (int i = 0; i < 100; ++i) this_task::yield();
        sleep_for(1ms);
      });
    });
    fibers::run([&] {
      for (int i = 0; i < 100; ++i) {
        ping.put(i);
        got.push_back(pong.get());
      }
      ping.shutdown();
    });
  }
  REQUIRE(got.size() == 100);
  CHECK(got.front() == 1);
  CHECK(got.back() == 100);
}

TEST_CASE("boost_fiber: each loop on a thread has its own time, and other Boost fibers have real time") {
  std::vector<fibers::duration> passed;
  bool real = true;
  {
    std::vector<neighbour> hosts;
    for (std::chrono::minutes const length : {1h, 2h, 3h}) {
      hosts.emplace_back([&, length] {
        fibers::run({.clock = clock_kind::virtual_time}, [&] {
          auto const start = fibers::clock::now();
          for (int i = 0; i < 10; ++i) {
            sleep_for(length / 10);
            fibers::boost_fiber::call([] { boost::this_fiber::yield(); });
          }
          passed.push_back(fibers::clock::now() - start);
        });
      });
    }
    for (int i = 0; i < 100; ++i) {
      auto const before = std::chrono::steady_clock::now();
      real = real && fibers::clock::now() >= before && !fibers::detail::loop_is_here();
      boost::this_fiber::yield();
    }
  }
  CHECK(real);
  REQUIRE(passed.size() == 3);
  for (int i = 0; i < 3; ++i) {
    CHECK(passed[static_cast<std::size_t>(i)] >= (i + 1) * 1h);
    CHECK(passed[static_cast<std::size_t>(i)] < (i + 1) * 1h + 30min);  // and the real duration of the calls
  }
}

TEST_CASE("boost_fiber: no wake-up from another thread is lost") {
  fibers::queue<int> there(1), back(1);
  constexpr int rounds = 2000;
  std::thread other([&] {
    fibers::run([&] {
      for (auto const number : there) back.put(number);
    });
  });
  int sum = 0;
  fibers::run([&] {
    for (int i = 0; i < rounds; ++i) {
      there.put(i);
      sum += back.get();
    }
    there.shutdown();
  });
  other.join();
  CHECK(sum == rounds * (rounds - 1) / 2);
}

TEST_CASE("boost_fiber: a plain thread cancels a task and ends, repeatedly") {
  fibers::run([] {
    for (int i = 0; i < 200; ++i) {
      auto task = spawn([] { sleep_for(fibers::no_timeout); });
      this_task::yield();
      std::thread canceller([handle = task.handle()] { handle.cancel(); });
      task.wait();
      canceller.join();
    }
  });
  SUCCEED("all were cancelled");
}

// --- virtual time ---

TEST_CASE_METHOD(boost_case, "boost_fiber: in virtual time tasks sleep for hours at once") {
  run([&] {
    sleep_for(5h);
    seen("awake");
  });
  CHECK(seen == "awake@18000");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: other Boost fibers run before virtual time jumps") {
  bool set = false;
  neighbour const setter([&] {
    for (int i = 0; i < 100; ++i) boost::this_fiber::yield();
    set = true;
  });
  run([&] {
    while (!set) sleep_for(1ms);  // would never end otherwise
  });
  CHECK(set);
}

TEST_CASE_METHOD(boost_case, "boost_fiber: in virtual time a deadlock is found, whatever Boost fibers wait for") {
  event never, over;
  neighbour waiting([&] { fibers::run([&] { over.wait(); }); });
  boost::this_fiber::yield();
  CHECK(how([&] { run([&] { never.wait(); }); }).find("deadlock") != std::string::npos);
  over.set();
}

TEST_CASE_METHOD(boost_case, "boost_fiber: virtual time does not overtake Boost fibers that need several turns") {
  event joined, yielded;
  neighbour const joins([&] {
    neighbour([] {}).join();
    joined.set();
  });
  run([&] { joined.wait(); });
  neighbour const yields([&] {
    for (int i = 0; i < 10; ++i) boost::this_fiber::yield();
    yielded.set();
  });
  run([&] { note(fibers::move_on_after(1h, [&] { yielded.wait(); }) ? "in time" : "too late"); });
  CHECK(happened == "in time");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: while a task waits for a Boost fiber, virtual time follows real time") {
  auto const start = std::chrono::steady_clock::now();
  fibers::duration passed{};
  run([&] {
    fibers::boost_fiber::call([] { boost::this_fiber::sleep_for(5ms); });
    passed = fibers::clock::now().time_since_epoch();
  });
  CHECK(passed > 0ms);
  CHECK(passed <= std::chrono::steady_clock::now() - start);
}

// --- signals ---

TEST_CASE("boost_fiber: a signal wakes an idle loop, on whichever thread it arrives") {
  auto const old = std::signal(SIGUSR1, SIG_IGN);
  bool const same_thread = GENERATE(true, false);
  int signal = 0;
  neighbour raiser([&] {
    boost::this_fiber::yield();  // the loop is idle by now
    if (same_thread) {
      std::raise(SIGUSR1);
    } else {
      std::thread([] { std::raise(SIGUSR1); }).join();
    }
  });
  try {
    fibers::run({.cancel_on_signals = {SIGUSR1}}, [] { sleep_for(fibers::no_timeout); });
  } catch (fibers::interrupted_error const& error) {
    signal = error.signal();
  }
  raiser.join();
  std::signal(SIGUSR1, old);
  CHECK(signal == SIGUSR1);
}

TEST_CASE("boost_fiber: a signal reaches a busy loop, and does not reach one that has ended") {
  auto const old = std::signal(SIGUSR1, SIG_IGN);
  int interrupted = 0;
  for (int i = 0; i < 20; ++i) {
    try {
      fibers::run({.cancel_on_signals = {SIGUSR1}}, [i] {
        if (i % 2 == 0) std::raise(SIGUSR1);
        for (;;) {
          this_task::yield();
          if (i % 2 != 0) std::raise(SIGUSR1);
        }
      });
    } catch (fibers::interrupted_error const&) {
      ++interrupted;
    }
  }
  std::signal(SIGUSR1, old);
  CHECK(interrupted == 20);
}

// --- where nothing of this works ---

namespace {
struct own_parker final : fibers::detail::parker {
  void park(fibers::time_point) override { std::this_thread::yield(); }
  void unpark() noexcept override {}
};
}  // namespace

TEST_CASE("boost_fiber: a loop with another parker cannot wait for Boost fibers, and says so") {
  auto const text = how([] {
    fibers::detail::run(
        {}, [] { fibers::boost_fiber::call([] {}); }, std::make_unique<own_parker>(), BOOST_CURRENT_LOCATION);
  });
  CHECK(text.find("failed: fibers: this loop sleeps in") == 0);
  CHECK(text.find("boost_fiber.cpp:") != std::string::npos);
}

// --- without a host ---

namespace {

// As in a plugin, which does not decide how the loops of its host sleep.
struct unhosted {
  fibers::detail::parker_source const none{[]() -> std::unique_ptr<fibers::detail::parker> { return nullptr; }};
};

}  // namespace

TEST_CASE("boost_fiber: in a program that includes the header, loops of every thread sleep as Boost fibers") {
  auto const parker_chosen = [] {
    bool chosen = false;
    fibers::run([&] { chosen = fibers::detail::chosen_parker() != nullptr; });
    return chosen;
  };
  CHECK(parker_chosen());
  bool on_another = false;
  on_a_thread([&] { on_another = parker_chosen(); });
  CHECK(on_another);
  {
    unhosted const none;
    CHECK_FALSE(parker_chosen());
    fibers::boost_fiber::host const host;
    CHECK(parker_chosen());
  }
}

TEST_CASE_METHOD(unhosted,
                 "boost_fiber: without a host a loop shares its thread from a task's first wait for a Boost fiber on") {
  int before = 0, steps = 0;
  bool over = false;
  neighbour beside([&] {
    while (!over) ++steps, boost::this_fiber::yield();
  });
  fibers::run([&] {
    sleep_for(1ms);
    before = steps;
    fibers::boost_fiber::call([] {});
    event done;
    neighbour const idle([&] {
      int const enough = steps + 100;
      while (steps < enough) boost::this_fiber::yield();
      done.set();
    });
    done.wait();
  });
  over = true;
  beside.join();
  CHECK(before == 0);
  CHECK(steps >= 100);
  bool chosen = true;
  fibers::run([&] { chosen = fibers::detail::chosen_parker() != nullptr; });
  CHECK_FALSE(chosen);  // another loop made that choice
}

TEST_CASE_METHOD(unhosted,
                 "boost_fiber: without a host a Boost fiber that waits for a task of such a loop suspends alone") {
  int turns = 0;
  fibers::run([&] {
    auto slow_to_end = spawn([] {
      try {
        sleep_for(1h);
      } catch (fibers::cancelled_error const&) {
        fibers::with_shield([] { sleep_for(20ms); });
        throw;
      }
    });
    this_task::yield();
    fibers::boost_fiber::call([&] {
      bool gone = false;
      neighbour const beside([&] {
        while (!gone) ++turns, boost::this_fiber::sleep_for(1ms);
      });
      slow_to_end = {};
      gone = true;
    });
  });
  CHECK(turns > 0);
}

TEST_CASE_METHOD(unhosted, "boost_fiber: without a host a signal wakes such a loop") {
  auto const old = std::signal(SIGUSR1, SIG_IGN);
  bool interrupted = false;
  try {
    fibers::run({.cancel_on_signals = {SIGUSR1}}, [] {
      fibers::boost_fiber::call([] {});
      std::thread([] {
        std::this_thread::sleep_for(5ms);
        std::raise(SIGUSR1);
      }).detach();
      sleep_for(1h);
    });
  } catch (fibers::interrupted_error const&) {
    interrupted = true;
  }
  std::signal(SIGUSR1, old);
  CHECK(interrupted);
}

TEST_CASE("boost_fiber: outside a task its waits say what is missing") {
  boost::fibers::future<int> future = boost::fibers::async([] { return 1; });
  CHECK(how([&] { fibers::boost_fiber::wait(future); }).find("needs a running task") != std::string::npos);
  CHECK(how([] { fibers::boost_fiber::call([] {}); }).find("needs a running task") != std::string::npos);
  CHECK(future.get() == 1);
}

TEST_CASE("boost_fiber: threads with Boost fibers and loops are created and end repeatedly") {
  int sum = 0;
  for (int i = 0; i < 20; ++i) {
    on_a_thread([&] {
      std::vector<neighbour> hosts;
      for (int n = 0; n < 3; ++n) {
        hosts.emplace_back([&] {
          fibers::run([&] {
            this_task::yield();
            ++sum;
          });
        });
      }
    });
  }
  CHECK(sum == 60);
}
