// SPDX-License-Identifier: BSL-1.0
#include "../../fibers/detail/engine/signal_watch.hpp"

#include <atomic>
#include <csignal>
#include <fibers/event.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "child.hpp"

using namespace std::chrono_literals;
using fibers::cancel_origin;
using fibers::cancelled_error;
using fibers::interrupted_error;
using fibers::run_options;
using fibers::testing::in_child;

namespace {

using handler = void (*)(int);

handler current_handler(int signal) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now.sa_handler;
}

std::atomic<int> handled = 0;
void count(int) { ++handled; }
void other(int) {}

// Sets handlers for SIGUSR1 and SIGUSR2, so that a late signal does no harm.
struct handlers {
  explicit handlers(handler h) : one(std::signal(SIGUSR1, h)), two(std::signal(SIGUSR2, h)) { handled = 0; }
  ~handlers() {
    std::signal(SIGUSR1, one);
    std::signal(SIGUSR2, two);
  }
  handler one, two;
};

run_options watching(std::vector<int> signals, fibers::clock_kind clock = fibers::clock_kind::steady) {
  return {.clock = clock, .cancel_on_signals = std::move(signals)};
}
run_options in_virtual_time(std::vector<int> signals) {
  return watching(std::move(signals), fibers::clock_kind::virtual_time);
}

// What run() throws: the number of the signal, 0 for nothing, -1 for a cancellation.
template <class F>
int run_interrupted(run_options const& options, F main) {
  try {
    fibers::run(options, std::move(main));
  } catch (interrupted_error const& error) {
    return error.signal();
  } catch (cancelled_error const&) {
    return -1;
  }
  return 0;
}

void for_ever() { fibers::sleep_for(fibers::no_timeout); }

void wait_for_cancel() {
  try {
    for_ever();
  } catch (cancelled_error const&) {
  }
}

}  // namespace

TEST_CASE("signal: on another thread it wakes a sleeping loop and cancels main", "[RUN-14][RUN-18]") {
  handlers const safe(&count);
  cancelled_error seen;
  std::thread sender;
  auto const signal = run_interrupted(watching({SIGUSR1}), [&] {
    sender = std::thread([] { std::raise(SIGUSR1); });
    try {
      for_ever();
    } catch (cancelled_error const& error) {
      seen = error;
      throw;
    }
  });
  sender.join();
  CHECK(signal == SIGUSR1);
  CHECK(handled == 0);
  CHECK(seen.origin().via == cancel_origin::kind::signal);
  CHECK(seen.message() == "signal " + std::to_string(SIGUSR1));
}

TEST_CASE("signal: cancels a main that only yields", "[RUN-13]") {
  handlers const safe(&count);
  int yields = 0;
  CHECK(run_interrupted(in_virtual_time({SIGUSR1}), [&] {
          for (;; ++yields) {
            if (yields == 10) std::raise(SIGUSR1);
            fibers::this_task::yield();
          }
        }) == SIGUSR1);
  CHECK(yields >= 10);
  CHECK(yields < 200);
}

TEST_CASE("signal: soon cancels a main in a busy loop with checkpoints", "[RUN-13][TRAP-29]") {
  handlers const safe(&count);
  int rounds = 0;
  CHECK(run_interrupted(in_virtual_time({SIGUSR1}), [&] {
          std::raise(SIGUSR1);  // nothing is thrown here
          for (;; ++rounds) fibers::this_task::checkpoint();
        }) == SIGUSR1);
  CHECK(rounds < 200);
}

TEST_CASE("signal: forwarded through get() to the task for which main waits", "[RUN-14]") {
  handlers const safe(&count);
  bool cancelled = false;
  CHECK(run_interrupted(in_virtual_time({SIGUSR1}), [&] {
          auto task = fibers::spawn([] {
            std::raise(SIGUSR1);
            fibers::sleep_for(1h);
          });
          try {
            task.get();
          } catch (cancelled_error const&) {
            cancelled = task.cancelled();
            throw;
          }
        }) == SIGUSR1);
  CHECK(cancelled);
}

TEST_CASE("signal: ends a wait at once, also in virtual time", "[RUN-18]") {
  handlers const safe(&count);
  fibers::duration waited{};
  run_interrupted(in_virtual_time({SIGUSR1}), [&] {
    auto const start = fibers::clock::now();
    try {
      std::raise(SIGUSR1);
      fibers::sleep_for(1h);
    } catch (cancelled_error const&) {
      waited = fibers::clock::now() - start;
    }
  });
  CHECK(waited == 0s);
}

TEST_CASE("signal: a main that another task has cancelled, too, ends cancelled and not interrupted", "[RUN-15]") {
  handlers const safe(&count);
  CHECK(run_interrupted(in_virtual_time({SIGUSR1}), [] {
          fibers::this_task::cancel();
          std::raise(SIGUSR1);
          wait_for_cancel();
          for_ever();
        }) == -1);
}

TEST_CASE("signal: after main was cancelled and has ended, it interrupts nothing", "[RUN-15]") {
  handlers const safe(&count);
  bool raised = false;
  CHECK(run_interrupted(in_virtual_time({SIGUSR1}), [&] {
          fibers::spawn([&] {
            wait_for_cancel();  // run() ends
            raised = std::raise(SIGUSR1) == 0;
            fibers::sleep_for(1s);
          }).detach();
          fibers::this_task::yield();
          fibers::this_task::cancel();
          for_ever();
        }) == -1);
  CHECK(raised);
}

TEST_CASE("signal: after main has returned, it leaves the result", "[RUN-17]") {
  handlers const safe(&count);
  auto const result = fibers::run(in_virtual_time({SIGUSR1}), [] {
    fibers::spawn([] {
      wait_for_cancel();
      std::raise(SIGUSR1);
      fibers::sleep_for(1s);
    }).detach();
    fibers::this_task::yield();
    return 5;
  });
  CHECK(result == 5);
}

TEST_CASE("signal: a main that catches its cancellation returns its value", "[RUN-17]") {
  handlers const safe(&count);
  auto const result = fibers::run(in_virtual_time({SIGUSR1}), [] {
    std::raise(SIGUSR1);
    wait_for_cancel();
    return 5;
  });
  CHECK(result == 5);
}

TEST_CASE("signal: a main that withdraws the request and rethrows the cancellation was interrupted", "[RUN-14]") {
  handlers const safe(&count);
  CHECK(run_interrupted(in_virtual_time({SIGUSR1}), [] {
          std::raise(SIGUSR1);
          try {
            for_ever();
          } catch (cancelled_error const&) {
            fibers::this_task::uncancel();
            throw;
          }
        }) == SIGUSR1);
}

TEST_CASE("signal: a main that fails throws its error", "[RUN-02]") {
  handlers const safe(&count);
  CHECK_THROWS_WITH(fibers::run(in_virtual_time({SIGUSR1}),
                                [] {
                                  std::raise(SIGUSR1);
                                  wait_for_cancel();
                                  throw std::runtime_error("no");
                                }),
                    "no");
}

TEST_CASE("signal: the second one does what it did before run(), at once", "[RUN-16][TRAP-29]") {
  SECTION("a handler of the program's own") {
    handlers const safe(&count);
    std::vector<int> counts;
    fibers::run(in_virtual_time({SIGUSR1}), [&] {
      std::raise(SIGUSR1);
      counts.push_back(handled);
      std::raise(SIGUSR1);
      counts.push_back(handled);
      wait_for_cancel();
    });
    CHECK(counts == std::vector{0, 1});
  }
  SECTION("the end of the program, though main swallows its cancellation") {
    auto const end = in_child([] {
      fibers::run(in_virtual_time({SIGINT, SIGTERM}), [] {
        for (;;) {
          std::raise(SIGINT);
          wait_for_cancel();
        }
      });
    });
    CHECK(end.by(SIGINT));
  }
  SECTION("also if it is another of those that are watched") {
    auto const end = in_child([] {
      fibers::run(in_virtual_time({SIGINT, SIGTERM}), [] {
        std::raise(SIGINT);
        wait_for_cancel();
        std::raise(SIGTERM);
      });
    });
    CHECK(end.by(SIGTERM));
  }
}

TEST_CASE("signal: after run() the handlers are those of before, whatever happened", "[RUN-19]") {
  handlers const safe(&count);
  handler inside = nullptr;
  SECTION("nothing") {
    fibers::run(watching({SIGUSR1}), [&] { inside = current_handler(SIGUSR1); });
    CHECK(inside != &count);
  }
  SECTION("a failure") {
    CHECK_THROWS(fibers::run(watching({SIGUSR1, SIGUSR2}), [] { throw std::runtime_error("x"); }));
  }
  SECTION("a signal") {
    fibers::run(watching({SIGUSR1, SIGUSR2}), [&] {
      std::raise(SIGUSR2);
      inside = current_handler(SIGUSR1);  // both signals, at once
      wait_for_cancel();
    });
    CHECK(inside == &count);
  }
  CHECK(current_handler(SIGUSR1) == &count);
  CHECK(current_handler(SIGUSR2) == &count);
}

TEST_CASE("signal: a handler that the program has set meanwhile stays", "[RUN-19]") {
  handlers const safe(&count);
  SECTION("without a signal") {
    fibers::run(watching({SIGUSR1}), [] { std::signal(SIGUSR1, &other); });
  }
  SECTION("and a signal that is watched beside it") {
    fibers::run(watching({SIGUSR1, SIGUSR2}), [] {
      std::signal(SIGUSR1, &other);
      std::raise(SIGUSR2);
      wait_for_cancel();
    });
  }
  CHECK(current_handler(SIGUSR1) == &other);
  CHECK(current_handler(SIGUSR2) == &count);
}

TEST_CASE("signal: two loops may watch different signals, and each cancels its own main") {
  handlers const safe(&count);
  std::vector<int> interrupted(2);
  std::atomic<int> ready = 0;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      interrupted[i] = run_interrupted(watching({i == 0 ? SIGUSR1 : SIGUSR2}), [&] {
        ++ready;
        for_ever();
      });
    });
  }
  while (ready != 2) std::this_thread::yield();
  std::raise(SIGUSR2);
  threads[1].join();
  std::raise(SIGUSR1);
  threads[0].join();
  CHECK(interrupted == std::vector{SIGUSR1, SIGUSR2});
  CHECK(handled == 0);
}

TEST_CASE("signal: a second loop cannot watch a watched signal, and disturbs nothing") {
  handlers const safe(&count);
  std::string text;
  handler left = nullptr;
  bool ran = false;
  auto const signal = run_interrupted(watching({SIGUSR1}), [&] {
    std::thread([&] {
      try {
        fibers::run(watching({SIGUSR2, SIGUSR1}), [&] { ran = true; });
      } catch (fibers::invalid_state_error const& error) {
        text = error.what();
      }
    }).join();
    left = current_handler(SIGUSR2);
    std::raise(SIGUSR1);
    for_ever();
  });
  CHECK(signal == SIGUSR1);
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("signal " + std::to_string(SIGUSR1)));
  CHECK(left == &count);
  CHECK_FALSE(ran);
}

TEST_CASE("signal: numbers that are not signals, or cannot be caught, are refused without effect", "[RUN-19]") {
  handlers const safe(&count);
  for (int const bad : {0, -1, 65, 1000, SIGKILL, SIGSTOP, 32 /* the C library's own */}) {
    bool ran = false;
    auto const alive = std::make_shared<int>();
    CHECK_THROWS_AS(fibers::run(watching({SIGUSR1, bad}), [&ran, alive] { ran = true; }), std::invalid_argument);
    CHECK_THROWS_WITH(fibers::run(watching({bad}), [] {}), Catch::Matchers::ContainsSubstring(std::to_string(bad)));
    CHECK_FALSE(ran);
    CHECK(alive.use_count() == 1);
    CHECK(current_handler(SIGUSR1) == &count);
  }
  CHECK(fibers::run(watching({SIGUSR1}), [] { return 5; }) == 5);
}

TEST_CASE("signal: a duplicate signal is watched once") {
  handlers const safe(&count);
  CHECK(run_interrupted(in_virtual_time({SIGUSR1, SIGUSR1}), [] {
          std::raise(SIGUSR1);
          for_ever();
        }) == SIGUSR1);
  CHECK(current_handler(SIGUSR1) == &count);
}

TEST_CASE("signal: from the end of main on each does what it did before", "[RUN-16]") {
  auto const stubborn = [] {
    try {
      for_ever();
    } catch (cancelled_error const&) {  // run() ends
    }
    std::raise(SIGUSR1);
    fibers::this_task::yield();
  };
  SECTION("a handler of the program's own") {
    handlers const safe(&count);
    std::vector<int> counts;
    int const result = fibers::run(in_virtual_time({SIGUSR1}), [&] {
      fibers::spawn([&] {
        stubborn();
        counts.push_back(handled);
      }).detach();
      fibers::this_task::yield();
      return 7;
    });
    CHECK(result == 7);
    CHECK(counts == std::vector{1});
  }
  SECTION("the end of the program") {
    auto const end = in_child([&] {
      fibers::run(in_virtual_time({SIGUSR1}), [&] {
        fibers::spawn([&] {
          stubborn();
          for_ever();
        }).detach();
        fibers::this_task::yield();
      });
    });
    CHECK(end.by(SIGUSR1));
  }
}

TEST_CASE("signal: one that is caught but arrives too late to cancel main does what it did before") {
  handlers const safe(&count);
  CHECK(
      fibers::run(watching({SIGUSR1}), [] {
        fibers::spawn([] { std::raise(SIGUSR1); }).detach();  // runs after main has ended, in the same turn of the loop
        return 7;
      }) == 7);
  CHECK(handled == 1);
}

TEST_CASE("signal: one whose request is pending when main returns does what it did before") {
  handlers const safe(&count);
  CHECK(fibers::run(in_virtual_time({SIGUSR1}), [] {
          fibers::event ready;
          auto waker = fibers::spawn([&] {
            ready.set();  // main is woken before the signal cancels it
            std::raise(SIGUSR1);
            for (int i = 0; i < 200; ++i) fibers::this_task::yield();
          });
          ready.wait();
          waker.detach();
          return 7;
        }) == 7);
  CHECK(handled == 1);
}

TEST_CASE("signal: one that arrives as main ends interrupts it or does what it did before, and none is left behind") {
  handlers const safe(&count);
  std::atomic<int> rounds = 0;
  std::atomic<bool> stop = false;
  int raised = 0;  // at most one in a round; none in the rounds in which the sender waits for a processor
  std::thread sender([&] {
    for (int round = 0; !stop;) {
      if (rounds.load() == round) {
        std::this_thread::yield();
        continue;
      }
      round = rounds;
      ++raised;
      std::raise(SIGUSR1);
    }
  });
  std::set<int> seen;
  int interrupted = 0;
  while (seen.size() < 2) {
    int const by = run_interrupted(watching({SIGUSR1}), [&] {
      ++rounds;
      if (rounds % 2 == 0) std::this_thread::yield();  // for threads that share a processor
      for (int i = 0; i < rounds % 500; ++i) fibers::this_task::yield();
    });
    seen.insert(by);
    if (by != 0) ++interrupted;
  }
  stop = true;
  sender.join();
  CHECK(seen == std::set{0, SIGUSR1});
  auto const deadline = std::chrono::steady_clock::now() + 10s;  // another thread may be about to handle the last one
  while (interrupted + handled < raised && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  CHECK(interrupted + handled == raised);  // none is lost
  CHECK(current_handler(SIGUSR1) == &count);
}
