// SPDX-License-Identifier: BSL-1.0

// Sweeps find planted faults, name their places, and accept correct programs.

#include <deque>
#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "environment.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::sleep_for;
using fibers::testing::cancel_sweep;
using fibers::testing::environment;
using fibers::testing::failure_sweep;
using fibers::testing::found;
using fibers::testing::timeout_sweep;

TEST_CASE("cancel_sweep: cancels a body before each wait and in it, and ends with a complete run") {
  std::vector<int> steps;  // the progress of each run
  auto const runs = cancel_sweep([&] {
    steps.push_back(0);
    sleep_for(1s);
    ++steps.back();
    sleep_for(1s);
    ++steps.back();
  });
  CHECK(steps == std::vector{0, 0, 1, 1, 2});
  CHECK(runs == 5);
}

TEST_CASE("cancel_sweep: counts the points of all tasks, and cancels the body") {
  int finished = 0;
  cancel_sweep([&] {
    auto child = fibers::spawn([] {
      sleep_for(1s);
      sleep_for(1s);
    });
    child.get();
    ++finished;
  });
  CHECK(finished == 1);
}

TEST_CASE("cancel_sweep: in pairs it also cancels the clean-up after the first cancellation") {
  auto const body = [](std::vector<std::string>& ends) {
    try {
      sleep_for(1s);
      ends.emplace_back("done");
    } catch (fibers::cancelled_error const&) {
      ends.emplace_back("cancelled");
      sleep_for(1s);
      ends.back() = "cleaned up";
      throw;
    }
  };
  std::vector<std::string> singly, in_pairs;
  cancel_sweep([&] { body(singly); });
  CHECK(singly == std::vector<std::string>{"cleaned up", "cleaned up", "done"});
  cancel_sweep([&] { body(in_pairs); }, {.pairs = true});
  CHECK(in_pairs == std::vector<std::string>{"cleaned up", "cancelled", "cancelled", "cleaned up",  //
                                             "cleaned up", "cancelled", "cancelled", "cleaned up", "done"});
}

TEST_CASE("cancel_sweep: finds a swallowed request, and says where and how to repeat it") {
  int runs = 0;
  auto const body = [&] {
    ++runs;
    sleep_for(1s);
    try {
      sleep_for(2s);
    } catch (...) {
    }
  };
  auto const text = found([&] { cancel_sweep(body); });
  CHECK_THAT(text, ContainsSubstring("cancel_sweep: the body swallowed the request to end") &&
                       ContainsSubstring("cancelled at point 3, at ") && ContainsSubstring("sweep.cpp:") &&
                       ContainsSubstring("in task 'main'") && ContainsSubstring("FIBERS_POINT=3"));

  runs = 0;
  environment const repeat("FIBERS_POINT", "3");
  CHECK_THAT(found([&] { cancel_sweep(body); }), ContainsSubstring("cancelled at point 3"));
  CHECK(runs == 2);  // and one run without a cancellation, to see how the body behaves
}

TEST_CASE("cancel_sweep: accepts a request that was caught and withdrawn") {
  auto const runs = cancel_sweep([] {
    try {
      sleep_for(1s);
    } catch (fibers::cancelled_error const&) {
      fibers::this_task::uncancel();
    }
  });
  CHECK(runs == 3);
}

TEST_CASE("cancel_sweep: finds a permit that a task loses") {
  auto const body = [](bool with_guard) {
    return [=] {
      fibers::semaphore permits(1);
      auto const use = [&] {
        permits.acquire();
        std::optional<fibers::cleanup_guard<std::function<void()>>> guard;
        if (with_guard) guard.emplace([&] { permits.release(); });
        sleep_for(1s);
        if (!with_guard) permits.release();
      };
      try {
        use();
      } catch (fibers::cancelled_error const&) {
        fibers::with_shield(use);  // a last time
        throw;
      }
    };
  };
  CHECK_THAT(found([&] { cancel_sweep(body(false)); }), ContainsSubstring("deadlock") &&
                                                            ContainsSubstring("'main' waits at") &&
                                                            ContainsSubstring("cancelled at point 2"));
  CHECK(found([&] { cancel_sweep(body(true)); }) == "");
}

TEST_CASE("cancel_sweep: finds a lost wake-up") {
  // Wakes the waiter that has waited longest, whether or not it still waits.
  class forgetful_gate {
   public:
    void wait() {
      auto mine = std::make_shared<fibers::event>();
      waiting_.push_back(mine);
      mine->wait();
    }
    void let_one_through() {
      if (waiting_.empty()) return;
      waiting_.front()->set();
      waiting_.pop_front();
    }

   private:
    std::deque<std::shared_ptr<fibers::event>> waiting_;
  };
  auto const text = found([] {
    cancel_sweep([] {
      forgetful_gate gate;
      auto patient = fibers::spawn("patient", [&] {
        sleep_for(2s);
        gate.wait();
      });
      try {
        gate.wait();
      } catch (fibers::cancelled_error const&) {
        fibers::with_shield([&] {
          sleep_for(3s);
          gate.let_one_through();
          patient.get();
        });
        throw;
      }
      patient.get();
    });
  });
  CHECK_THAT(text, ContainsSubstring("deadlock") && ContainsSubstring("'patient' waits at"));
}

TEST_CASE("cancel_sweep: finds a missing clean-up") {
  auto const text = found([] {
    cancel_sweep([] {
      auto helper = fibers::spawn("helper", [] {
        fibers::cleanup_guard const farewell([] { sleep_for(1s); });
        sleep_for(10s);
      });
      sleep_for(1s);
      helper.cancel();
      helper.detach();  // should have been joined
    });
  });
  CHECK_THAT(text, ContainsSubstring("tasks are left") && ContainsSubstring("'helper'"));

  // Only when it is cancelled: the line that ends the helper is skipped.
  auto const only_then = found([] {
    cancel_sweep([] {
      bool stop = false;
      auto helper = fibers::spawn("helper", [&stop] {
        while (!stop) sleep_for(1s);
      });
      fibers::cleanup_guard const wait([handle = helper.handle()] { handle.wait(); });
      sleep_for(5s);
      stop = true;
    });
  });
  CHECK_THAT(only_then, ContainsSubstring("it comes to no end; after 100000 suspension points") &&
                            ContainsSubstring("'helper'") && ContainsSubstring("cancelled at point 1"));
}

TEST_CASE("cancel_sweep: an exception of the body is a failure, and told from one that only a cancellation causes") {
  CHECK_THAT(found([] { cancel_sweep([] { throw std::runtime_error("broken"); }); }),
             ContainsSubstring("the body threw an exception: broken") &&
                 ContainsSubstring("also in a run in which nothing was done"));
  auto const text = found([] {
    cancel_sweep([] {
      try {
        sleep_for(1s);
      } catch (...) {
        throw std::runtime_error("clean-up failed");
      }
    });
  });
  CHECK_THAT(text, ContainsSubstring("the body threw an exception: clean-up failed") &&
                       ContainsSubstring("cancelled at point 1"));
}

TEST_CASE("cancel_sweep: finds an unfetched exception, and a body that cancels itself") {
  CHECK_THAT(found([] {
               cancel_sweep([] {
                 auto task = fibers::spawn("careless", [] { throw std::runtime_error("unseen"); });
                 task.wait();
               });
             }),
             ContainsSubstring("nobody fetched the exception of task 'careless': unseen"));
  CHECK_THAT(found([] { cancel_sweep([] { fibers::this_task::cancel("by itself"); }); }),
             ContainsSubstring("nobody had cancelled the body, and it ended cancelled"));
}

TEST_CASE("cancel_sweep: finds memory that is kept outside, but lets a container grow there") {
  std::vector<fibers::task_handle<>> kept;
  CHECK_THAT(found([&] {
               cancel_sweep([&] {
                 auto task = fibers::spawn([] {});
                 kept.push_back(task.handle());
                 task.get();
               });
             }),
             ContainsSubstring("of the library's memory were not given back"));
  fibers::queue<int> grows(fibers::unbounded);
  CHECK(found([&] { cancel_sweep([&] { grows.put(1); }); }) == "");
}

TEST_CASE("cancel_sweep: refuses invalid values in the environment") {
  for (auto const* const wrong : {"x", "0", "3,", "3,3", "7,3", "3;4", "99999999999999999999"}) {
    environment const repeat("FIBERS_POINT", wrong);
    CHECK_THROWS_AS(cancel_sweep([] {}), std::invalid_argument);
  }
}

TEST_CASE("cancel_sweep: inside a task it says where it belongs") {
  fibers::run([] {
    std::string text;
    try {
      cancel_sweep([] {});
    } catch (fibers::invalid_state_error const& error) {
      text = error.what();
    }
    if (text.find("outside of run()") == std::string::npos) throw std::logic_error(text);
  });
}

TEST_CASE("timeout_sweep: ends a body by a time limit at each point") {
  std::vector<std::string> ends;
  auto const runs = timeout_sweep([&] {
    ends.emplace_back("cut short");
    fibers::queue<int> items(1);
    fibers::with_task_group([&](fibers::task_group& group) {
      group.spawn([&] { items.put(1); });
      group.spawn([&] { items.get(); });
    });
    ends.back() = "done";
  });
  CHECK(runs > 2);
  CHECK(ends.size() == runs);
  CHECK(ends.front() == "cut short");
  CHECK(ends.back() == "done");
}

TEST_CASE("timeout_sweep: finds a swallowed limit, and in pairs a request after it") {
  CHECK_THAT(
      found([] {
        timeout_sweep([] {
          try {
            sleep_for(1s);
          } catch (fibers::cancelled_error const&) {
          }
        });
      }),
      ContainsSubstring("timeout_sweep: the body swallowed the request") && ContainsSubstring("timed out at point 1"));
  int cleaned_up = 0, runs = 0;
  timeout_sweep(
      [&] {
        ++runs;
        try {
          sleep_for(1s);
        } catch (fibers::cancelled_error const&) {
          sleep_for(1s);
          ++cleaned_up;
          throw;
        }
      },
      {.pairs = true});
  CHECK(cleaned_up == 4);
  CHECK(runs == 9);
}

TEST_CASE("failure_sweep: makes each allocation fail, and the body may fail by it") {
  int done = 0;
  auto const runs = failure_sweep([&] {
    auto const results = fibers::gather([] { return 1; }, [] { return 2; });
    fibers::queue<int> items(10);
    items.put(std::get<0>(results));
    ++done;
  });
  CHECK(done == 1);
  CHECK(runs > 3);
}

TEST_CASE("failure_sweep: finds what is left behind when an allocation fails") {
  CHECK_THAT(found([] {
               failure_sweep([] {
                 auto const ready = std::make_shared<fibers::event>();
                 fibers::spawn("forlorn", [ready] { ready->wait(); }).detach();
                 try {
                   fibers::spawn([&] { ready->set(); }).get();
                 } catch (std::bad_alloc const&) {
                 }
                 fibers::testing::wait_all_blocked();
               });
             }),
             ContainsSubstring("tasks are left") && ContainsSubstring("'forlorn'") &&
                 ContainsSubstring("no memory for allocation"));
}

TEST_CASE("failure_sweep: a body that allocates nothing runs once, one that spawns more often") {
  CHECK(failure_sweep([] {}) == 1);
  CHECK(failure_sweep([] { fibers::spawn([] {}).wait(); }) > 1);
}
