// SPDX-License-Identifier: BSL-1.0

// Traps of Boost.Fiber, each as it is there and as it is with a loop.

#include <unistd.h>

#include <atomic>
#include <boost/fiber/algo/shared_work.hpp>
#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/mutex.hpp>
#include <boost/version.hpp>
#include <fibers/boost_fiber.hpp>
#include <fibers/event.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "boost_fibers.hpp"
#include "catch.hpp"
#include "child.hpp"

using namespace std::chrono_literals;
using fibers::event;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::burn;
using fibers::testing::how;
using fibers::testing::neighbour;
using fibers::testing::on_a_thread;
namespace this_task = fibers::this_task;

namespace {

// Catches `name`, waits in the handler, and rethrows. Returns what is thrown.
template <class Wait>
std::string rethrow(std::string const& name, Wait wait) {
  return how([&] {
    try {
      throw std::runtime_error(name);
    } catch (std::runtime_error const&) {
      wait();
      throw;
    }
  });
}

}  // namespace

// --- a wait with a deadline may swallow a wake-up ---

TEST_CASE("boost_fiber, trap: a Boost wait with a deadline reports a timeout though it was woken in time") {
  boost::fibers::mutex mutex;
  boost::fibers::condition_variable changed;
  auto status = boost::fibers::cv_status::no_timeout;
  neighbour sleeper([&] {
    std::unique_lock lock(mutex);
    status = changed.wait_until(lock, std::chrono::steady_clock::now() + 10ms);
  });
  boost::this_fiber::yield();  // it waits
  changed.notify_one();
  burn(20ms);
  sleeper.join();
  CHECK(status == boost::fibers::cv_status::timeout);
}

TEST_CASE("boost_fiber, trap: a task that was handed its result in time has it, however late it runs") {
  event given;
  std::string ended;
  neighbour giver([&] {
    boost::this_fiber::yield();  // the loop sleeps
    given.set();
    burn(20ms);
  });
  fibers::run([&] { ended = how([&] { fibers::with_timeout(10ms, [&] { given.wait(); }); }); });
  CHECK(ended == "returned");
}

// --- a wake-up may access the sleeping thread after its end ---

TEST_CASE("boost_fiber, trap: a thread may end at once after its Boost fiber was notified of a task's end") {
  // Boost.Fiber's notifier still accesses the sleeping thread when this runs already. The address sanitizer reports it
  // if boost_fiber::wait() does not wait for the notifier.
  std::atomic<int> told = 0;
  fibers::run([&] {
    for (int i = 0; i < 300; ++i) {
      event go;
      auto task = spawn([&] { go.wait(); });
      std::atomic<bool> begun = false;
      std::thread waiting([&, handle = task.handle()] {
        begun = true;
        fibers::boost_fiber::wait(handle);
        ++told;
      });
      while (!begun) this_task::yield();
      go.set();
      while (told == i) this_task::yield();
      waiting.join();
    }
  });
  CHECK(told == 300);
}

TEST_CASE("boost_fiber, trap: a thread may end at once after its loop was woken by another thread") {
  for (int i = 0; i < 300; ++i) {
    event go;
    std::atomic<bool> begun = false;
    std::thread sleeping([&] {
      fibers::run([&] {
        begun = true;
        go.wait();
      });
    });
    while (!begun) std::this_thread::yield();
    go.set();
    sleeping.join();
  }
  SUCCEED("none was touched after its end, or a sanitizer says so");
}

// --- the state of exceptions ---

#if BOOST_VERSION < 108800
TEST_CASE("boost_fiber, trap: of two Boost fibers that wait in handlers, one rethrows what the other caught") {
  std::string first, second;
  {
    neighbour const a([&] { first = rethrow("first", [] { boost::this_fiber::yield(); }); });
    neighbour const b([&] {
      second = rethrow("second", [] {
        boost::this_fiber::yield();
        boost::this_fiber::yield();
      });
    });
  }
  CHECK(first == "failed: second");
}
#endif

TEST_CASE("boost_fiber, trap: a task rethrows what it caught, whatever other fibers have caught meanwhile") {
  std::string first, second;
  int handlers = 0;
  event others;
  neighbour const beside([&] {
    try {
      throw std::runtime_error("a neighbour's");
    } catch (std::runtime_error const&) {
      for (int i = 0; i < 10; ++i) boost::this_fiber::yield();
      ++handlers;
      others.set();
      boost::this_fiber::yield();
    }
  });
  fibers::run([&] {
    auto a = spawn([&] { first = rethrow("first", [&] { others.wait(); }); });
    second = rethrow("second", [] { fibers::boost_fiber::call([] { boost::this_fiber::yield(); }); });
    a.get();
  });
  CHECK(handlers == 1);
  CHECK(first == "failed: first");
  CHECK(second == "failed: second");
}

TEST_CASE("boost_fiber, trap: a Boost fiber rethrows what it caught, whatever tasks have caught meanwhile") {
  std::string beside, in_task;
  event go;
  neighbour waits_in_handler([&] {
    beside = rethrow("a neighbour's", [&] {
      go.set();
      for (int i = 0; i < 20; ++i) boost::this_fiber::yield();
    });
  });
  fibers::run([&] {
    go.wait();
    in_task = rethrow("a task's", [] {
      for (int i = 0; i < 200; ++i) this_task::yield();
      fibers::boost_fiber::call([] { boost::this_fiber::yield(); });
    });
  });
  CHECK(in_task == "failed: a task's");
  CHECK(std::uncaught_exceptions() == 0);
  waits_in_handler.join();
  CHECK(beside == "failed: a neighbour's");
}

TEST_CASE("boost_fiber, trap: a task that unwinds while other fibers throw counts only its own exceptions") {
  struct waits_in_destructor {
    int& uncaught;
    ~waits_in_destructor() {
      fibers::boost_fiber::call([] { boost::this_fiber::yield(); });
      uncaught = std::uncaught_exceptions();
    }
  };
  int uncaught = -1;
  neighbour const throws([&] {
    try {
      boost::this_fiber::yield();
      throw 1;
    } catch (int) {
      boost::this_fiber::yield();
    }
  });
  auto const ended = how([&] {
    fibers::run([&] {
      waits_in_destructor const last{uncaught};
      throw std::runtime_error("unwinding");
    });
  });
  CHECK(ended == "failed: unwinding");
  CHECK(uncaught == 1);
  CHECK(std::uncaught_exceptions() == 0);
}

// --- a task stops its Boost fiber itself ---

TEST_CASE("boost_fiber, trap: a task that sleeps as a Boost fiber blocks its own loop, and not other fibers") {
  std::string order;
  int steps = 0;
  neighbour const beside([&] {
    for (; steps < 100; ++steps) boost::this_fiber::yield();
  });
  fibers::run([&] {
    auto other = spawn([&] { order += "other "; });
    boost::this_fiber::sleep_for(1ms);
    order += steps > 0 ? "slept " : "slept alone ";
    this_task::yield();
    other.get();
  });
  CHECK(order == "slept other ");
}

TEST_CASE("boost_fiber, trap: another loop of the thread continues meanwhile, and both are intact after it") {
  std::string order;
  bool second_has_begun = false;
  event slept;
  neighbour second([&] {
    fibers::run([&] {
      second_has_begun = true;
      for (int i = 0; i < 10; ++i) sleep_for(100us);
      order += "second ";
      slept.wait();
      order += "told ";
    });
  });
  fibers::run([&] {
    while (!second_has_begun) sleep_for(100us);
    for (int i = 0; i < 10'000 && order.empty(); ++i) boost::this_fiber::sleep_for(1ms);
    order += "first ";
    slept.set();
    auto task = spawn([] { sleep_for(1ms); });
    task.get();
  });
  second.join();
  CHECK(order == "second first told ");
}

// --- Boost fibers change threads ---

TEST_CASE("boost_fiber, trap: a loop whose Boost fiber migrates to another thread aborts with advice") {
  auto const death = fibers::testing::in_child([] {
    // Two threads share their Boost fibers, and soon one of them takes the loop's fiber from the other.
    auto const share = [] {
      boost::fibers::use_scheduling_algorithm<boost::fibers::algo::shared_work>();
      for (;;) boost::this_fiber::yield();
    };
    std::thread(share).detach();
    boost::fibers::fiber([] {
      fibers::run([] {
        for (;;) this_task::yield();
      });
    }).detach();
    share();
  });
  CHECK(death.by(SIGABRT));
  CHECK(death.text.find("was moved to another thread") != std::string::npos);
}

TEST_CASE("boost_fiber, trap: a Boost fiber without a loop may migrate while it waits for a task to end") {
  auto const death = fibers::testing::in_child([] {
    std::mutex mutex;
    fibers::task<void> offered;
    std::thread([&] {
      fibers::run([&] {
        for (;; fibers::sleep_for(1ms)) {
          std::scoped_lock const guard(mutex);
          if (offered) continue;
          offered = spawn([] {
            try {
              fibers::sleep_for(1h);
            } catch (fibers::cancelled_error const&) {
              fibers::with_shield([] { fibers::sleep_for(1ms); });
              throw;
            }
          });
        }
      });
    }).detach();
    auto const share = [] {
      boost::fibers::use_scheduling_algorithm<boost::fibers::algo::shared_work>();
      for (;;) boost::this_fiber::yield();
    };
    std::thread(share).detach();
    boost::fibers::fiber([&] {
      for (bool moved = false; !moved; boost::this_fiber::yield()) {
        fibers::task<void> taken;
        {
          std::scoped_lock const guard(mutex);
          taken = std::exchange(offered, {});
        }
        if (!taken) continue;
        auto const before = ::gettid();
        taken = {};
        moved = ::gettid() != before;
      }
      ::_exit(7);
    }).detach();
    share();
  });
  CHECK(death.text == "");
  CHECK(death.with(7));
}

TEST_CASE("boost_fiber, trap: the main fiber of a thread stays on it, also under work sharing") {
  std::atomic<bool> over = false;
  std::thread other([&] {
    boost::fibers::use_scheduling_algorithm<boost::fibers::algo::shared_work>(true);
    while (!over) boost::this_fiber::sleep_for(1ms);
  });
  int calls = 0;
  on_a_thread([&] {
    boost::fibers::use_scheduling_algorithm<boost::fibers::algo::shared_work>(true);
    fibers::run([&] {
      for (int i = 0; i < 100; ++i) {
        calls += fibers::boost_fiber::call([] {
          boost::this_fiber::yield();
          return 1;
        });
      }
    });
    over = true;
  });
  other.join();
  CHECK(calls == 100);
}
