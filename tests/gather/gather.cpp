// SPDX-License-Identifier: BSL-1.0

// gather() of callables is structured, so no callable outlives the statement.

#include <fibers/gather.hpp>
#include <fibers/shield.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "callables.hpp"
#include "catch.hpp"
#include "one_pass.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::gather;
using fibers::outcome;
using fibers::return_exceptions;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::counted;
using fibers::testing::failing;
using fibers::testing::how;
using fibers::testing::one_pass;
using fibers::testing::sleeper;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

/// When cancelled, cleans up for a while and then ends, or fails.
auto slow_to_end(int seconds, char const* failure = nullptr) {
  return [seconds, failure]() -> int {
    try {
      sleep_for(99s);
    } catch (cancelled_error const&) {
      sleep_for(std::chrono::seconds(seconds));
      if (failure != nullptr) throw std::runtime_error(failure);
      throw;
    }
    return 0;
  };
}

using number_maker = std::function<int()>;

template <class T>
std::string text(outcome<T> const& result) {
  return how([&] { return result.value(); });
}

std::string text(std::vector<int> const& numbers) {
  std::string all;
  for (int const each : numbers) all += std::to_string(each);
  return all;
}

std::string text(std::vector<outcome<int>> const& outcomes) {
  std::string all;
  for (auto const& each : outcomes) all += (all.empty() ? "" : "; ") + text(each);
  return all;
}

}  // namespace

// --- results ---

TEST_CASE_METHOD(virtual_time, "gather of callables: all run concurrently, with results in their order",
                 "[GA-01][GA-09]") {
  run([&] {
    auto const [one, two, three] = gather(sleeper(2), sleeper(3), sleeper(1));
    seen(text(std::vector{one, two, three}));
    seen(text(gather(std::vector<number_maker>{sleeper(2), sleeper(3), sleeper(1)})));
    seen(text(gather(return_exceptions, std::vector<number_maker>{sleeper(2), sleeper(1)})));
  });
  CHECK(seen == "231@3, 231@6, returned 2; returned 1@8");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: results may differ in type, be void, references or move-only") {
  run([&] {
    int target = 0;
    auto const results = gather([] { return 5; }, [] {}, [&]() -> int& { return target; },
                                [pointer = std::make_unique<int>(7)]() mutable { return std::move(pointer); });
    static_assert(
        std::is_same_v<decltype(results),
                       std::tuple<int, std::monostate, std::reference_wrapper<int>, std::unique_ptr<int>> const>);
    std::get<2>(results).get() = 9;
    seen(std::to_string(std::get<0>(results) + *std::get<3>(results) + target));
  });
  CHECK(seen == "21@0");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: outcomes may differ in type", "[GA-04]") {
  run([&] {
    int target = 3;
    auto const results = gather(
        return_exceptions, [] { return 5; }, [] {}, [&]() -> int& { return target; },
        [] { return std::make_unique<int>(7); }, failing(1), [] { throw 5; });
    static_assert(std::is_same_v<std::remove_cvref_t<decltype(std::get<1>(results))>, outcome<void>>);
    seen(text(std::get<0>(results)));
    seen(how([&] { std::get<1>(results).value(); }));
    seen(how([&] { return std::get<2>(results).value().get(); }));
    seen(how([&] { return *std::get<3>(results).value(); }));
    seen(text(std::get<4>(results)));
    seen(std::to_string(std::get<5>(results).has_error()));
  });
  CHECK(seen == "returned 5@1, returned@1, returned 3@1, returned 7@1, failed: no@1, 1@1");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: of no callable returns nothing", "[GA-07]") {
  run([&] {
    seen(std::to_string(gather(std::vector<number_maker>()).size()));
    seen(std::to_string(gather(return_exceptions, std::vector<number_maker>()).size()));
  });
  CHECK(seen == "0@0, 0@0");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: takes any range, also a single-pass one, and moves from rvalues") {
  run([&] {
    std::list<number_maker> const kept{sleeper(1), sleeper(2)};
    seen(text(gather(kept)));
    seen(text(gather(kept)));  // gather() called copies
    seen(text(gather(one_pass(4, sleeper))));
    seen(text(gather(return_exceptions, one_pass(3, sleeper))));
  });
  CHECK(seen == "12@2, 12@4, 0123@7, returned 0; returned 1; returned 2@9");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: an empty function is refused, and the others do not outlive that",
                 "[GA-13]") {
  run([&] {
    seen(how([&] { gather([&, object = counted()] { seen("not reached"); }, std::function<void()>()); }).substr(0, 41));
    seen(how([&] { gather(return_exceptions, sleeper(1), std::function<void()>()); }).substr(0, 41));
  });
  CHECK(seen.contains("failed: fibers: an empty callable was giv@0"));
  CHECK_FALSE(seen.contains("not reached"));
}

TEST_CASE("gather of callables: without a loop it is an error", "[GA-09]") {
  CHECK_THROWS_WITH(gather(sleeper(1), sleeper(2)), ContainsSubstring("running task"));
  CHECK_THROWS_WITH(gather(std::vector<number_maker>{sleeper(1)}), ContainsSubstring("running task"));
}

TEST_CASE_METHOD(virtual_time, "gather of callables: may be nested to any depth", "[GA-20]") {
  run([&] {
    std::function<int(int)> const sum = [&](int depth) {
      if (depth == 0) return 1;
      auto const [left, right] = gather([&] { return sum(depth - 1); }, [&] { return sum(depth - 1); });
      return left + right;
    };
    seen(std::to_string(sum(6)));
  });
  CHECK(seen == "64@0");
}

// --- errors ---

TEST_CASE_METHOD(virtual_time, "gather of callables: the first error is thrown, after the others have been ended",
                 "[GA-02][GA-03][TRAP-08]") {
  run([&] {
    seen(how([&] { gather(failing(1), [&] { seen(how([] { slow_to_end(2)(); })), throw cancelled_error(); }); }));
    seen(std::to_string(this_task::cancelling()));
    seen(how([] { sleep_for(1s); }));
  });
  CHECK(seen == "cancelled@3, failed: no@3, 0@3, returned@4");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: the type of the error is kept") {
  run([&] {
    try {
      gather(std::vector<number_maker>{sleeper(9), [] { return std::stoi("five"); }});
    } catch (std::invalid_argument const&) {
      seen("invalid argument");
    }
    try {
      gather([] { throw 5; }, sleeper(9));
    } catch (int number) {
      seen(std::to_string(number));
    }
  });
  CHECK(seen == "invalid argument@0, 5@0");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: later errors are not lost", "[GA-12]") {
  run([&] { seen(how([] { gather(slow_to_end(1, "clean-up"), failing(1), failing(1, "same instant")); })); });
  CHECK(seen == "failed: no@2");
  CHECK(unfetched == std::vector<std::string>{"main: failed: same instant", "main: failed: clean-up"});
  unfetched.clear();
}

TEST_CASE_METHOD(virtual_time, "gather of callables: an error as a result cancels no other callable", "[GA-04]") {
  run([&] {
    seen(text(gather(return_exceptions, std::vector<number_maker>{failing(1), sleeper(3), failing(2, "later")})));
  });
  CHECK(seen == "failed: no; returned 3; failed: later@3");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: a callable that is cancelled is thrown when all have ended",
                 "[GA-05]") {
  run([&] {
    seen(how([] { gather([] { throw cancelled_error("one"); }, sleeper(2)); }));
    seen(std::to_string(this_task::cancelling()));
  });
  CHECK(seen == "cancelled: one@2, 0@2");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: a cancelled callable is a result", "[GA-06]") {
  run([&] {
    seen(text(gather(return_exceptions,
                     std::vector<number_maker>{[]() -> int { throw cancelled_error("one"); }, sleeper(2)})));
  });
  CHECK(seen == "cancelled: one; returned 2@2");
}

// --- the caller is cancelled ---

TEST_CASE_METHOD(virtual_time, "gather of callables: if cancelled, it ends all of them before it returns",
                 "[GA-11][GA-16][GA-17][TRAP-07][TRAP-09]") {
  bool const as_results = GENERATE(false, true);
  CAPTURE(as_results);
  run([&] {
    auto caller = spawn([&] {
      if (as_results) {
        gather(return_exceptions, slow_to_end(1), slow_to_end(2), [object = counted()] { sleep_for(9s); });
      } else {
        gather(slow_to_end(1), slow_to_end(2), [object = counted()] { sleep_for(9s); });
      }
    });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "cancelled: enough@3");
}

TEST_CASE_METHOD(virtual_time,
                 "gather of callables: if cancelled, and all swallow that, it throws cancelled_error nevertheless",
                 "[GA-18]") {
  bool const as_results = GENERATE(false, true);
  CAPTURE(as_results);
  run([&] {
    auto const stubborn = [] { return how([] { sleep_for(9s); }); };
    auto caller = spawn([&] {
      if (as_results) {
        gather(return_exceptions, stubborn, stubborn);
      } else {
        gather(stubborn, stubborn);
      }
      seen("not reached");
    });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "cancelled: enough@1");
}

TEST_CASE_METHOD(virtual_time,
                 "gather of callables: if cancelled, and clean-up fails, it throws the error, then the cancellation",
                 "[GA-19]") {
  run([&] {
    auto caller = spawn([&] {
      seen(how([] { gather(slow_to_end(1, "clean-up"), slow_to_end(2)); }));
      sleep_for(1s);
    });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "failed: clean-up@3, cancelled@3");
}

TEST_CASE_METHOD(virtual_time,
                 "gather of callables: if cancelled, with errors as results, an error of clean-up is a result",
                 "[GA-19]") {
  run([&] {
    auto caller = spawn([&] { gather(return_exceptions, slow_to_end(1, "clean-up"), slow_to_end(2)); });
    sleep_for(1s);
    caller.cancel("enough");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "cancelled: enough@3");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: if cancelled when all are done, it returns its results",
                 "[GA-14]") {
  run([&] {
    auto caller = spawn([&] {
      auto const [one] = gather(sleeper(1));
      seen(std::to_string(one));
      sleep_for(1s);
    });
    auto const canceller = spawn([&] {
      sleep_for(1s);
      this_task::yield();
      caller.cancel("late");
    });
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "1@1, cancelled: late@1");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: a pending request is thrown before any of them begins",
                 "[TASK-37]") {
  run([&] {
    auto const never = [&] {
      seen("not reached");
      return 0;
    };
    auto const mine = [&](auto call) {
      this_task::cancel("mine");
      seen(how(call));
    };
    mine([&] { gather(never, never); });
    mine([&] { gather(return_exceptions, never); });
    mine([&] { gather(std::vector<number_maker>{never}); });
    mine([&] { gather(return_exceptions, std::vector<number_maker>{never}); });
    mine([&] { gather(std::vector<number_maker>()); });
    mine([&] { gather(return_exceptions, std::vector<number_maker>()); });
  });
  CHECK(seen ==
        "cancelled: mine@0, cancelled: mine@0, cancelled: mine@0, cancelled: mine@0, cancelled: mine@0, "
        "cancelled: mine@0");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: the cancellations that it makes say so") {
  auto const waiting = [&] {
    try {
      sleep_for(9s);
    } catch (cancelled_error const& error) {
      seen(error.origin().via == fibers::cancel_origin::kind::gather ? "by gather" : "not by gather");
      throw;
    }
  };
  run([&] {
    seen(how([&] { gather(waiting, failing(1)); }));
    auto outer = spawn([&] { gather(waiting, waiting); });
    this_task::yield();
    outer.cancel("enough");
    seen(how([&] { outer.get(); }));
  });
  CHECK(seen == "by gather@1, failed: no@1, by gather@1, by gather@1, cancelled: enough@1");
}

TEST_CASE_METHOD(virtual_time, "gather of callables: a timeout ends it and waits for clean-up; a shield protects it") {
  run([&] {
    seen(how([] { fibers::with_timeout(1s, [] { gather(slow_to_end(1), slow_to_end(2)); }); }).substr(0, 17));
    auto caller = spawn([&] {
      fibers::with_shield([&] { seen(text(gather(std::vector<number_maker>{sleeper(2)}))); });
      this_task::yield();
    });
    this_task::yield();
    caller.cancel("out");
    seen(how([&] { caller.get(); }));
  });
  CHECK(seen == "failed: timed out@3, 2@5, cancelled: out@5");
}
