// SPDX-License-Identifier: BSL-1.0

// Whatever scopes a clean-up enters and leaves, only a further request from outside interrupts it.

#include <fibers/fibers.hpp>
#include <functional>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::at_exit;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// A random clean-up: nested scopes, each of which ends by a request of its own, or normally. The clean-up expects these
// ends. A cancellation is not expected, and leaves it.
class clean_up {
 public:
  explicit clean_up(unsigned seed) : random_(seed) {}

  void step(int depth) {
    switch (depth == 0 ? 0 : pick(14)) {
      case 0:
        return sleep_for(1ms * pick(3));
      case 1:  // a limit that expires
        fibers::move_on_after(1ms * pick(3), [&] { steps(depth), sleep_for(1h); });
        return;
      case 2:
        return expect_timeout([&] { fibers::with_timeout(1ms * pick(3), [&] { steps(depth), sleep_for(1h); }); });
      case 3:  // a limit that does not expire
        fibers::move_on_after(1h, [&] { steps(depth); });
        return;
      case 4:  // a group whose child fails
        try {
          fibers::with_task_group([&](fibers::task_group& group) {
            group.spawn([&] {
              sleep_for(1ms * pick(2));
              throw std::runtime_error("no");
            });
            sleep_for(1h);
          });
        } catch (fibers::exception_group const&) {
        }
        return;
      case 5:  // a group that is stopped
        fibers::with_task_group([&](fibers::task_group& group) {
          group.spawn([&] {
            sleep_for(1ms * pick(2));
            group.stop();
          });
          sleep_for(1h);
        });
        return;
      case 6:  // a group that its child stops, perhaps without a further wait
        fibers::with_task_group([&](fibers::task_group& group) {
          group.stop();
          if (pick(2) == 0) sleep_for(1h);
        });
        return;
      case 7:
        static_cast<void>(fibers::race([] { sleep_for(1ms); }, [] { sleep_for(1h); }));
        return;
      case 8:
        try {
          fibers::gather([] { throw std::runtime_error("no"); }, [] { sleep_for(1h); });
        } catch (std::runtime_error const&) {
        }
        return;
      case 9:
        fibers::with_shield([&] { steps(depth); });
        return;
      case 10:  // a limit around a shield
        fibers::move_on_after(1ms, [&] { fibers::with_shield([&] { steps(depth), sleep_for(2ms); }); });
        return;
      case 11:
        return expect_timeout([&] {
          auto task = spawn([] { sleep_for(1h); });
          fibers::wait_for(task, 1ms * pick(3));
        });
      case 12:  // a destructor, on the normal path
      case 13:  // and during unwinding
        try {
          at_exit const leaves{[&, on_normal_path = pick(2) == 0] {
            // No exception may leave a destructor; on the normal path a further request would.
            if (on_normal_path) fibers::move_on_after(1ms, [] { fibers::with_shield([] { sleep_for(2ms); }); });
            if (!on_normal_path) fibers::with_shield([&] { steps(depth); });
          }};
          throw std::runtime_error("unwinding");
        } catch (std::runtime_error const&) {
        }
        return;
    }
  }
  void steps(int depth) {
    for (int i = pick(3); i >= 0; --i) step(depth - 1);
  }

 private:
  int pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  static void expect_timeout(std::function<void()> const& body) {
    try {
      body();
    } catch (fibers::timeout_error const&) {
    }
  }

  std::minstd_rand random_;
};

struct outcome {
  std::string first, later;  // what was thrown
  int count = 0;             // of cancelling(), at the end
};

// Cancels a task once, whose handler cleans up; and, if a time is given, once more at that time of the clean-up.
outcome try_out(unsigned seed, std::optional<fibers::duration> again) {
  outcome result;
  auto task = spawn([&] {
    try {
      sleep_for(1h);
    } catch (cancelled_error const& error) {
      result.first = error.message();
      try {
        clean_up(seed).steps(4);
        this_task::checkpoint();
      } catch (cancelled_error const& later) {
        // A group that is left with errors makes a request pending again without its message, as in asyncio.
        result.later = later.origin().place.line() != 0 ? "again" : "of unknown origin";
      }
    }
    result.count = this_task::cancelling();
    return 5;
  });
  sleep_for(1s);
  task.cancel("once");
  bool further = false;
  if (again.has_value()) {
    sleep_for(*again);
    further = task.cancel("again");
  }
  task.wait();
  if (task.cancelled()) result.first = "ended cancelled";
  if (further && result.later.empty()) result.later = "swallowed";
  if (further) --result.count;
  return result;
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "clean-up: scopes that it enters and leaves never interrupt it") {
  std::string wrong;
  run([&] {
    for (unsigned seed = 1; seed <= 3000 && wrong.empty(); ++seed) {
      auto const [first, later, count] = try_out(seed, {});
      if (first != "once" || !later.empty() || count != 1) {
        wrong = "seed " + std::to_string(seed) + ": " + first + ", " + later + ", asked " + std::to_string(count);
      }
    }
  });
  INFO(wrong);
  CHECK(wrong.empty());
  unfetched.clear();  // siblings in gather() that failed while they were cancelled
}

TEST_CASE_METHOD(virtual_time,
                 "clean-up: a further request from outside interrupts it once, and names the requesting task") {
  std::string wrong;
  int cut_short = 0;
  run([&] {
    for (unsigned seed = 1; seed <= 3000 && wrong.empty(); ++seed) {
      auto const [first, later, count] = try_out(seed, 500us * (seed % 9));
      if (later == "again") ++cut_short;
      if (first != "once" || (!later.empty() && later != "again") || count != 1) {
        wrong = "seed " + std::to_string(seed) + ": " + first + ", " + later + ", asked " + std::to_string(count);
      }
    }
  });
  INFO(wrong);
  CHECK(wrong.empty());
  CHECK(cut_short > 1000);
  unfetched.clear();
}
