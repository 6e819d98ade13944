// SPDX-License-Identifier: BSL-1.0

// The first callable that ends decides, and all others have ended when race() returns.

#include <fibers/queue.hpp>
#include <fibers/race.hpp>
#include <fibers/shield.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <functional>
#include <memory>

#include "callables.hpp"
#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::race;
using fibers::sleep_for;
using fibers::spawn;
using fibers::task;
using fibers::testing::counted;
using fibers::testing::failing;
using fibers::testing::how;
using fibers::testing::sleeper;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

/// When cancelled, cleans up for a while and then ends, fails, or returns a result.
auto slow_to_end(int seconds, std::string answer = "goes") {
  return [seconds, answer, object = counted()]() -> int {
    try {
      sleep_for(99s);
    } catch (cancelled_error const&) {
      sleep_for(std::chrono::seconds(seconds));
      if (answer == "fails") throw std::runtime_error("clean-up");
      if (answer == "goes") throw;
    }
    return 99;
  };
}

}  // namespace

// --- the winner ---

TEST_CASE_METHOD(virtual_time, "race: returns the result of the first that ends", "[STAG-03]") {
  run([&] {
    seen(how([] { return race(sleeper(3), sleeper(1), sleeper(2)); }));
    seen(how([] { return race(sleeper(1)); }));
    seen(std::to_string(this_task::cancelling()));
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "returned 1@1, returned 1@2, 0@2, returned@3");
}

TEST_CASE_METHOD(virtual_time, "race: losers are cancelled, and waited for", "[STAG-03]") {
  run([&] {
    seen(how([&] {
      return race(sleeper(1), slow_to_end(2), [&]() -> int {
        seen(how([] { sleep_for(9s); }));
        throw cancelled_error();
      });
    }));
  });
  CHECK(seen == "cancelled@1, returned 1@3");
}

TEST_CASE_METHOD(virtual_time, "race: the cancellations that it makes say so") {
  run([&] {
    seen(how([&] {
      return race(sleeper(1), [&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const& error) {
          seen(error.origin().via == fibers::cancel_origin::kind::race ? "by race" : "not by race");
          throw;
        }
        return 2;
      });
    }));
  });
  CHECK(seen == "by race@1, returned 1@1");
}

TEST_CASE_METHOD(virtual_time, "race: a callable that has not begun when another wins never begins", "[STAG-05]") {
  run([&] {
    seen(how([&] {
      return race([] { return 1; },
                  [&, object = counted()] {
                    seen("not reached");
                    return 2;
                  });
    }));
  });
  CHECK(seen == "returned 1@0");
}

TEST_CASE_METHOD(virtual_time, "race: if two end at one instant, the first is the winner", "[STAG-05]") {
  run([&] {
    seen(how([&] {
      return race(
          sleeper(2),
          [&] {
            sleep_for(1s);
            seen("first");
            return 10;
          },
          [&] {
            sleep_for(1s);
            seen("second");  // its wait had completed as well
            return 20;
          });
    }));
  });
  CHECK(seen == "first@1, second@1, returned 10@1");
}

TEST_CASE_METHOD(virtual_time, "race: a winner's error is thrown as it is, and the losers are cancelled",
                 "[STAG-02][STAG-04]") {
  run([&] {
    seen(how([] { return race(failing(1), slow_to_end(2)); }));
    seen(std::to_string(this_task::cancelling()));
    try {
      race([] { throw 5; }, [] { sleep_for(9s); });
    } catch (int number) {
      seen(std::to_string(number));
    }
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "failed: no@3, 0@3, 5@3, returned@4");
}

TEST_CASE_METHOD(virtual_time, "race: a callable that ends cancelled wins, and the caller was not cancelled itself") {
  run([&] {
    seen(how([] {
      return race(
          []() -> int {
            sleep_for(1s);
            throw cancelled_error("mine");
          },
          slow_to_end(1));
    }));
    seen(std::to_string(this_task::cancelling()));
  });
  CHECK(seen == "cancelled: mine@2, 0@2");
}

TEST_CASE_METHOD(virtual_time,
                 "race: losers that fail while they clean up are reported, and those that return are not") {
  run([&] { seen(how([] { return race(sleeper(1), slow_to_end(1, "fails"), slow_to_end(2, "returns")); })); });
  CHECK(seen == "returned 1@3");
  REQUIRE(unfetched.size() == 1);
  CHECK_THAT(unfetched[0], ContainsSubstring("failed: clean-up"));
  unfetched.clear();
}

TEST_CASE_METHOD(virtual_time, "race: losers that fail at the winner's instant are reported", "[STAG-05]") {
  run([&] { seen(how([] { return race(sleeper(1), failing(1)); })); });
  CHECK(seen == "returned 1@1");
  CHECK(unfetched.size() == 1);
  unfetched.clear();
}

// --- kinds of results ---

TEST_CASE_METHOD(virtual_time, "race: callables may have no result") {
  run([&] {
    race([] { sleep_for(1s); }, [] { sleep_for(2s); });
    seen("over");
    static_assert(std::is_void_v<decltype(race([] {}, [] {}))>);
  });
  CHECK(seen == "over@1");
}

TEST_CASE_METHOD(virtual_time, "race: results may be references, or move-only") {
  run([&] {
    int one = 1, two = 2;
    int& winner = race(
        [&]() -> int& {
          sleep_for(2s);
          return one;
        },
        [&]() -> int& {
          sleep_for(1s);
          return two;
        });
    seen(&winner == &two ? "two" : "one");
    seen(std::to_string(*race([] { return std::make_unique<int>(5); },
                              [] {
                                sleep_for(1s);
                                return std::make_unique<int>(6);
                              })));
  });
  CHECK(seen == "two@1, 5@1");
}

TEST_CASE_METHOD(virtual_time, "race: results of different types are a variant, with each type once") {
  run([&] {
    auto const text = [](fibers::duration length) {
      return [length] {
        sleep_for(length);
        return std::string("text");
      };
    };
    auto const result = race(
        sleeper(2), text(1s), [] { sleep_for(3s); }, sleeper(4));
    static_assert(std::is_same_v<decltype(result), std::variant<int, std::string, std::monostate> const>);
    seen(std::get<std::string>(result));
    seen(std::to_string(race(text(2s), [] { sleep_for(1s); }).index()));
    int target = 7;
    auto const reference = race(text(9s), [&]() -> int& { return target; });
    seen(std::to_string(std::get<std::reference_wrapper<int>>(reference).get()));
  });
  CHECK(seen == "text@1, 1@2, 7@2");
}

TEST_CASE_METHOD(virtual_time, "race: callables may be move-only, or lvalues that are kept") {
  run([&] {
    seen(std::to_string(race([pointer = std::make_unique<int>(5)] { return *pointer; }, sleeper(1))));
    std::function<int()> const kept = sleeper(1);
    seen(std::to_string(race(kept, kept)));
    seen(std::to_string(race(kept, kept)));
    seen(how([] { race(sleeper(1), std::function<int()>()); }).substr(0, 40));
  });
  CHECK(seen == "5@0, 1@1, 1@2, failed: fibers: an empty callable was gi@2");
}

TEST_CASE("race: without a loop it is an error") {
  CHECK_THROWS_WITH(race([] {}, [] {}), ContainsSubstring("running task"));
}

// --- nothing is lost ---

TEST_CASE_METHOD(virtual_time, "race: a loser has taken nothing from a queue") {
  run([&] {
    fibers::queue<int> left, right;
    auto const feeder = spawn([&] {
      sleep_for(1s);
      left.put(1);
      sleep_for(1s);
      right.put(2);
    });
    seen(std::to_string(race([&] { return right.get(); }, [&] { return left.get(); })));
    seen(std::to_string(right.get()));
  });
  CHECK(seen == "1@1, 2@2");
}

// --- the caller is cancelled ---

TEST_CASE_METHOD(virtual_time, "race: if cancelled before there is a winner, it cancels and waits for all",
                 "[STAG-06]") {
  run([&] {
    auto caller =
        spawn([] { return race(slow_to_end(1), slow_to_end(2), [object = counted()] { return sleeper(9)(); }); });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { return caller.get(); }));
    seen(std::to_string(caller.cancelling()));
  });
  CHECK(seen == "cancelled: enough@3, 1@3");
}

TEST_CASE_METHOD(virtual_time, "race: if cancelled again, it does not disturb the clean-up of its callables",
                 "[STAG-06]") {
  run([&] {
    auto caller = spawn([] { return race(slow_to_end(5), slow_to_end(3)); });
    sleep_for(1s);
    caller.cancel("first");
    sleep_for(1s);
    caller.cancel("second");
    seen(how([&] { return caller.get(); }));
    seen(std::to_string(caller.cancelling()));
  });
  CHECK(seen == "cancelled: first@6, 2@6");
}

TEST_CASE_METHOD(virtual_time, "race: if cancelled, a result wins nevertheless, and the request stays pending",
                 "[STAG-06]") {
  run([&] {
    auto caller = spawn([&] {
      seen(how([] { return race(slow_to_end(1, "returns"), slow_to_end(2)); }));
      this_task::checkpoint();
    });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { return caller.get(); }));
  });
  CHECK(seen == "returned 99@3, cancelled: enough@3");
}

TEST_CASE_METHOD(virtual_time, "race: if cancelled, an error of clean-up is not lost", "[STAG-06]") {
  run([&] {
    auto caller = spawn([] { return race(slow_to_end(1, "fails"), slow_to_end(2)); });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { return caller.get(); }));
  });
  CHECK(seen == "cancelled: enough@3");
  CHECK(unfetched.size() == 1);  // it is reported, since the cancellation is thrown
  unfetched.clear();
}

TEST_CASE_METHOD(virtual_time,
                 "race: if cancelled after there is a winner, it returns the result, and the request stays pending",
                 "[STAG-06]") {
  run([&] {
    auto caller = spawn([&] {
      seen(how([] { return race(sleeper(1), slow_to_end(5)); }));
      seen(std::to_string(this_task::cancelling()));
      sleep_for(1s);
    });
    sleep_for(2s);
    caller.cancel("late");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "returned 1@6, 1@6, cancelled: late@6");
}

TEST_CASE_METHOD(virtual_time,
                 "race: if cancelled after the winner failed, its error is thrown, and the request stays pending",
                 "[STAG-06]") {
  run([&] {
    auto caller = spawn([&] {
      seen(how([] { return race(failing(1), slow_to_end(5)); }));
      sleep_for(1s);
    });
    sleep_for(2s);
    caller.cancel("late");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "failed: no@6, cancelled: late@6");
}

TEST_CASE_METHOD(virtual_time, "race: if cancelled at the winner's instant, nothing is lost, whichever was first",
                 "[STAG-06]") {
  bool const cancel_first = GENERATE(false, true);
  CAPTURE(cancel_first);
  run([&] {
    task<void> caller;
    auto const canceller = spawn([&] {
      if (!cancel_first) this_task::yield(), this_task::yield();  // the timer of the callable is older
      sleep_for(1s);
      caller.cancel("now");
    });
    if (cancel_first) this_task::yield();
    caller = spawn([&] {
      seen(how([] { return race(sleeper(1), sleeper(9)); }));
      sleep_for(1s);
    });
    seen(how([&] { caller.get(); }));
  });
  // Two requests that meet before delivery are thrown as one, with the message of the outer one.
  CHECK(seen == "returned 1@1, cancelled: now@1");
}

TEST_CASE_METHOD(virtual_time, "race: a pending request is thrown before any of them begins", "[TASK-37]") {
  run([&] {
    auto const never = [&, object = counted()] {
      seen("not reached");
      return 5;
    };
    this_task::cancel("mine");
    seen(how([&] { return race(never, never); }));
    seen(how([] { return race(sleeper(1), sleeper(2)); }));
  });
  CHECK(seen == "cancelled: mine@0, returned 1@1");
}

TEST_CASE_METHOD(virtual_time, "race: a timeout around it may expire before and after there is a winner") {
  run([&] {
    seen(how([] { return fibers::with_timeout(1s, [] { return race(slow_to_end(1), sleeper(9)); }); }).substr(0, 17));
    seen(std::to_string(this_task::cancelling()));
    seen(how([] { return fibers::with_timeout(2s, [] { return race(sleeper(1), slow_to_end(5)); }); }));
    seen(std::to_string(this_task::cancelling()));
    seen(how([] { sleep_for(1s); }));  // the timeout's request was withdrawn with it
  });
  CHECK(seen == "failed: timed out@2, 0@2, returned 1@8, 0@8, returned@9");
}

TEST_CASE_METHOD(virtual_time, "race: can serve as a hand-written timeout, also nested") {
  run([&] {
    seen(how([] { return race(sleeper(9), [] { return race(sleeper(8), failing(1, "too slow")); }); }));
    seen(how([] { return race([] { return race(sleeper(8), sleeper(2)); }, sleeper(1)); }));
  });
  CHECK(seen == "failed: too slow@1, returned 1@2");
}

TEST_CASE_METHOD(virtual_time, "race: in a shield it is not cancelled from outside, but has a winner") {
  run([&] {
    auto caller = spawn([&] {
      fibers::with_shield([&] { seen(how([] { return race(sleeper(2), sleeper(9)); })); });
      this_task::yield();
    });
    sleep_for(1s);
    caller.cancel("out");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "returned 2@2, cancelled: out@2");
}

TEST_CASE_METHOD(virtual_time, "race: an old swallowed request is not mistaken for a new one") {
  run([&] {
    auto caller = spawn([&] {
      seen(how([] { sleep_for(9s); }));
      seen(how([] { return race(sleeper(1), sleeper(2)); }));
      seen(how([] { sleep_for(1s); }));
    });
    sleep_for(1s);
    caller.cancel("old");
    caller.wait();
  });
  CHECK(seen == "cancelled: old@1, returned 1@2, returned@3");
}

TEST_CASE_METHOD(virtual_time, "race: a callable that never ends is a deadlock, after the others have been ended") {
  run([&] {
    seen(how([] {
           return race(slow_to_end(1), [] {
             sleep_for(fibers::no_timeout);
             return 1;
           });
         }).substr(0, 16));
    seen(how([] {
           return race([] {
             sleep_for(fibers::no_timeout);
             return 1;
           });
         }).substr(0, 16));
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "returned 99@99, failed: deadlock@99, returned@100");
}
