// SPDX-License-Identifier: BSL-1.0

// Explorations find faults that occur only in some order, and repeat that order on request.

#include <cstdlib>
#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "environment.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::environment;
using fibers::testing::explore;
using fibers::testing::failure;
using fibers::testing::found;
using fibers::testing::systematic;

namespace {

using orders = std::set<std::string>;

// Three tasks that only begin and end.
void three(std::string& order) {
  auto const step = [&order](char name) { return [&order, name] { order += name; }; };
  fibers::gather(step('a'), step('b'), step('c'));
}

// A counter that is read and written with a wait in between: an update is lost if two tasks interleave.
void lossy_counting() {
  int count = 0;
  auto const increment = [&] {
    auto const before = count;
    if (before == 0) fibers::this_task::yield();
    count = before + 1;
  };
  auto a = spawn([&] { increment(); });
  auto b = spawn([&] {
    fibers::this_task::yield();
    fibers::this_task::yield();
    increment();
  });
  a.get();
  b.get();
  if (count != 2) throw std::logic_error("an update was lost");
}

// The waiter checks the flag, and only then begins to wait: a notification in between is lost.
void missed_notification() {
  bool ready = false;
  fibers::mutex lock;
  fibers::condition_variable changed;
  auto waits = spawn("waits", [&] {
    if (!ready) {
      fibers::this_task::yield();
      std::unique_lock held(lock);
      changed.wait(held);
    }
  });
  auto notifies = spawn("notifies", [&] {
    fibers::this_task::yield();
    fibers::this_task::yield();
    ready = true;
    changed.notify_all();
  });
  waits.get();
  notifies.get();
}

}  // namespace

TEST_CASE("explore: tries every order in which three tasks may begin, at random and systematically") {
  orders const all{"abc", "acb", "bac", "bca", "cab", "cba"};
  orders seen;
  auto const body = [&] {
    std::string order;
    three(order);
    seen.insert(order);
  };
  SECTION("by chance, in the end") {
    explore(body);
    CHECK(seen == all);
  }
  SECTION("one by one, and says that this was all") {
    auto const done = explore(body, systematic{.preemptions = 2});
    CHECK(seen == all);
    CHECK(done.complete);
  }
  SECTION("with no departure there is the usual order only") {
    auto const done = explore(body, systematic{.preemptions = 0});
    CHECK(seen == orders{"abc"});
    CHECK(done.runs == 1);
    CHECK(done.complete);
  }
  SECTION("with one, those that differ in one choice") {
    explore(body, systematic{.preemptions = 1});
    CHECK(seen == orders{"abc", "acb", "bac", "cab"});
  }
}

TEST_CASE("explore: timers with equal deadlines fire in any order, and before or after ready tasks") {
  orders seen;
  explore(
      [&] {
        std::string order;
        auto const sleeper = [&](char name) {
          return [&order, name] {
            sleep_for(1s);
            order += name;
          };
        };
        fibers::gather(sleeper('a'), sleeper('b'), [&] {
          sleep_for(1s);
          fibers::this_task::yield();
          order += 'c';
        });
        seen.insert(order);
      },
      systematic{});
  CHECK(seen == orders{"abc", "acb", "bac", "bca", "cab", "cba"});
}

TEST_CASE("explore: finds an update that is lost in one order only, and names the seed that finds it again") {
  fibers::run(lossy_counting);  // passes in the usual order
  auto const text = found([] { explore(lossy_counting); });
  REQUIRE_THAT(text, ContainsSubstring("explore: the body threw an exception: an update was lost") &&
                         ContainsSubstring("to repeat only this run: FIBERS_SEED="));
  auto const seed = text.substr(text.rfind('=') + 1);
  {
    environment const repeat("FIBERS_SEED", seed);
    CHECK_THAT(found([] { explore(lossy_counting); }), ContainsSubstring("seed " + seed + " (run 1 of 1)"));
  }
  environment const other("FIBERS_SEED", "nonsense");
  CHECK_THROWS_AS(explore(lossy_counting), std::invalid_argument);
}

TEST_CASE("explore: finds a lost wake-up, and the schedule that leads to it") {
  fibers::run_options virtually;
  virtually.clock = fibers::clock_kind::virtual_time;
  fibers::run(virtually, missed_notification);
  CHECK_THAT(found([] { explore(missed_notification); }),
             ContainsSubstring("deadlock") && ContainsSubstring("'waits' waits at"));
  auto const text = found([] { explore(missed_notification, systematic{}); });
  REQUIRE_THAT(text, ContainsSubstring("deadlock") && ContainsSubstring("FIBERS_SCHEDULE="));
  auto const schedule = text.substr(text.rfind('=') + 1);
  {
    environment const repeat("FIBERS_SCHEDULE", schedule);
    CHECK_THAT(found([] { explore(missed_notification, systematic{}); }),
               ContainsSubstring("the schedule " + schedule + " (run 1)"));
  }
  for (auto const* const wrong : {"x", "1", "2:1,1:1", "3:", "0:1", "1:1,"}) {
    environment const repeat("FIBERS_SCHEDULE", wrong);
    CHECK_THROWS_AS(explore(missed_notification, systematic{}), std::invalid_argument);
  }
}

TEST_CASE("explore: stops at the maximum number of runs, and reports that there are more") {
  std::size_t count = 0;
  auto const done = explore(
      [&] {
        std::string order;
        three(order);
        ++count;
      },
      systematic{.most_runs = 4});
  CHECK(count == 4);
  CHECK(done.runs == 4);
  CHECK_FALSE(done.complete);
}

TEST_CASE("explore: reports a body that is not deterministic") {
  int runs = 0;
  auto const text = found([&] {
    explore(
        [&] {
          std::vector<fibers::task<void>> tasks;
          for (int i = 0; i < 2 + runs; ++i) tasks.push_back(spawn([] {}));
          ++runs;
          fibers::wait(tasks);
        },
        systematic{});
  });
  CHECK_THAT(text, ContainsSubstring("does not do the same each time"));
}

TEST_CASE("explore: a body with one schedule has no choices, one with two tasks has some") {
  CHECK(explore([] {}, 5).choices == 0);
  CHECK(explore([] { fibers::this_task::yield(); }, systematic{}).choices == 0);
  auto const two = [] {
    auto other = fibers::spawn([] { fibers::this_task::yield(); });
    fibers::this_task::yield();
    other.wait();
  };
  CHECK(explore(two, 5).choices > 0);
  CHECK(explore(two, systematic{}).choices > 0);
}
