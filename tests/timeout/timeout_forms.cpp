// SPDX-License-Identifier: BSL-1.0

// with_timeout() and move_on_after(): arguments, results, texts, and refused calls.

#include <cmath>
#include <fibers/timeout.hpp>
#include <limits>
#include <memory>
#include <optional>
#include <ratio>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::move_on_after;
using fibers::sleep_for;
using fibers::spawn;
using fibers::timeout_error;
using fibers::timeout_scope;
using fibers::with_timeout;
using fibers::with_timeout_at;
using fibers::testing::at;
using fibers::testing::ends;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

// --- results ---

TEST_CASE_METHOD(virtual_time, "timeout: returns what its body returns, including references and move-only results") {
  int number = 0;
  run([&] {
    int& same = with_timeout(1s, [&]() -> int& { return number; });
    same = 5;
    auto const owned = with_timeout_at(at(1s), [] { return std::make_unique<int>(6); });
    auto const scoped = with_timeout(1s, [](timeout_scope&) { return std::make_unique<int>(7); });
    seen(std::to_string(number) + std::to_string(*owned) + std::to_string(*scoped));
    struct immovable {
      explicit immovable(int v) : value(v) {}
      immovable(immovable&&) = delete;
      int value;
    };
    seen(std::to_string(with_timeout(1s, [] { return immovable(8); }).value));
  });
  CHECK(seen == "567@0, 8@0");
}

TEST_CASE_METHOD(virtual_time, "timeout: calls a body as it was given, without copying it") {
  struct body {
    std::string operator()() & { return "lvalue"; }
    std::string operator()() && { return "rvalue"; }
    body() = default;
    body(body const&) = delete;
  };
  struct only_lvalue {
    std::string operator()() & { return "lvalue"; }
  };
  run([&] {
    body given;
    only_lvalue other;
    seen(with_timeout(1s, given) + ' ' + with_timeout(1s, body()) + ' ' + with_timeout(1s, other));
    seen(*move_on_after(1s, given) + ' ' + *move_on_after(1s, body()) + ' ' + *move_on_after(1s, other));
  });
  CHECK(seen == "lvalue rvalue lvalue@0, lvalue rvalue lvalue@0");
}

TEST_CASE_METHOD(virtual_time, "move_on: returns an optional result, which is empty if the body was interrupted") {
  int number = 5;
  run([&] {
    auto const value = move_on_after(1s, [] { return 5; });
    auto const cut = move_on_after(1s, [] {
      sleep_for(9s);
      return 5;
    });
    STATIC_REQUIRE(std::is_same_v<decltype(cut), std::optional<int> const>);
    seen((value == 5 ? "5 " : "not ") + std::string(cut.has_value() ? "not" : "empty"));
    auto const owned = fibers::move_on_at(at(9s), [] { return std::make_unique<int>(6); });
    auto const same = move_on_after(1s, [&]() -> int& { return number; });
    seen(**owned == 6 && &same->get() == &number ? "right" : "wrong");
    auto const nested = move_on_after(1s, [] { return std::optional<int>(); });
    seen(nested.has_value() && !nested->has_value() ? "an empty one" : "nothing");
  });
  CHECK(seen == "5 empty@1, right@1, an empty one@1");
}

TEST_CASE_METHOD(virtual_time, "move_on: of a body without a result returns whether it was completed") {
  run([&] {
    seen(ends([] { return move_on_after(1s, [] {}); }));
    seen(ends([] { return move_on_after(1s, [] { sleep_for(9s); }); }));
    seen(ends([] { return fibers::move_on_at(at(2s), [](timeout_scope&) { sleep_for(9s); }); }));
    seen(ends([] { return fibers::move_on_at(at(1s), [] { sleep_for(9s); }); }));
    seen(ends([] {
      return move_on_after(1s, [](timeout_scope&) {  // swallowed: the body is then complete
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
        }
      });
    }));
  });
  CHECK(seen == "returned 1@0, returned 0@1, returned 0@2, returned 0@2, returned 1@3");
}

TEST_CASE_METHOD(virtual_time, "move_on: errors and cancellations from outside propagate") {
  run([&] {
    seen(ends([] { return move_on_after(1s, [] { throw std::runtime_error("no"); }); }));
    auto const child = spawn([&] { seen(ends([] { return move_on_after(5s, [] { sleep_for(9s); }); })); });
    sleep_for(1s);
    child.cancel("enough");
    child.wait();
  });
  CHECK(seen == "failed: no@0, cancelled: enough, asked 1@1");
}

// --- lengths of time ---

TEST_CASE_METHOD(virtual_time, "timeout: takes any kind of duration, and is never early") {
  using days = std::chrono::duration<int, std::ratio<86400>>;
  auto const cut_after = [](auto limit) {
    auto const begin = fibers::clock::now();
    move_on_after(limit, [] { sleep_for(fibers::duration::max()); });
    return fibers::clock::now() - begin;
  };
  run([&] {
    auto const sum = cut_after(std::chrono::duration<double>(0.25)) + cut_after(std::chrono::duration<float>(0.5F)) +
                     cut_after(250ms) + cut_after(days(1));
    seen(sum == 24h + 1s ? "right" : "wrong");
    using half_nanoseconds = std::chrono::duration<long, std::ratio<1, 2'000'000'000>>;
    seen(cut_after(half_nanoseconds(3)) == 2ns ? "rounded up" : "early");
    seen(cut_after(std::chrono::duration<double, std::nano>(0.1)) == 1ns ? "rounded up" : "early");
  });
  CHECK(seen == "right@86401, rounded up@86401, rounded up@86401");
}

TEST_CASE_METHOD(virtual_time, "timeout: infinite and huge limits are no limits; NaN is refused") {
  using seconds = std::chrono::duration<double>;
  run([&] {
    for (double const limit : {std::numeric_limits<double>::infinity(), 1e300, 1e10}) {
      seen(ends([&] {
        with_timeout(seconds(limit), [&](timeout_scope& scope) {
          seen(scope.when() == fibers::no_timeout ? "never" : "some time");
          sleep_for(1h);
        });
      }));
    }
    seen(ends([] { with_timeout(seconds(-1e300), [] { sleep_for(1s); }); }));
    seen(how([] { with_timeout(seconds(std::nan("")), [] {}); }).substr(0, 33));
    seen(ends([] {
      with_timeout(1s, [](timeout_scope& scope) {
        try {
          scope.reschedule_after(std::chrono::duration<float>(std::nanf("")));
        } catch (std::invalid_argument const&) {
        }
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen ==
        "never@0, returned@3600, never@3600, returned@7200, never@7200, returned@10800, timed out@10800, "
        "failed: fibers: a duration is NaN@10800, timed out@10801");
}

// --- texts ---

TEST_CASE_METHOD(virtual_time, "timeout: its text names the limit, where it was set, and where the task waited") {
  std::string text;
  int set_at = 0;
  int waited_at = 0;
  auto const waits = [&] {
    waited_at = __LINE__ + 1;
    sleep_for(9s);
  };
  run([&] {
    try {
      set_at = __LINE__ + 1;
      with_timeout(1500ms, waits);
    } catch (timeout_error const& error) {
      text = error.what();
    }
  });
  auto const here = [](int line) { return "timeout_forms.cpp:" + std::to_string(line); };
  CHECK_THAT(text, ContainsSubstring("timed out after 1.5 s (limit set at " + here(set_at) + ")"));
  CHECK_THAT(text, ContainsSubstring("while waiting at " + here(waited_at) + " ("));
}

TEST_CASE_METHOD(virtual_time,
                 "timeout: its text names the limit that was set last, and no call site if no task waited") {
  std::vector<std::string> texts;
  auto const cut = [&](auto body) {
    try {
      with_timeout(1s, body);
    } catch (timeout_error const& error) {
      texts.emplace_back(error.what());
    }
  };
  run([&] {
    cut([](timeout_scope& scope) {
      scope.reschedule_after(20ms);
      sleep_for(9s);
    });
    cut([](timeout_scope& scope) {
      scope.reschedule(fibers::clock::now() + 3s);
      sleep_for(9s);
    });
    cut([](timeout_scope& scope) {
      scope.reschedule_after(0s);
      this_task::yield();
    });
  });
  REQUIRE(texts.size() == 3);
  CHECK_THAT(texts[0], ContainsSubstring("after 20 ms "));
  CHECK_THAT(texts[1], ContainsSubstring("after 3 s "));
  CHECK_THAT(texts[2], ContainsSubstring("its deadline had passed when it was set ") && !ContainsSubstring("waiting"));
}

TEST_CASE_METHOD(virtual_time, "timeout: the cancelled_error inside names the timeout", "[TO-12]") {
  std::string text;
  fibers::cancel_origin origin;
  int line = 0;
  run([&] {
    sleep_for(300ms);
    line = __LINE__ + 1;
    move_on_after(500ms, [&] {
      try {
        sleep_for(9s);
      } catch (cancelled_error const& error) {
        text = error.what();
        origin = error.origin();
        throw;
      }
    });
  });
  CHECK(text == "cancelled (timeout at timeout_forms.cpp:" + std::to_string(line) + ")");
  CHECK(origin.via == fibers::cancel_origin::kind::timeout);
  CHECK(origin.task.empty());
  CHECK(static_cast<int>(origin.place.line()) == line);
  CHECK(origin.time == at(800ms));
}

// --- misuse ---

TEST_CASE("timeout: outside a task it says that it needs one", "[TO-25]") {
  bool called = false;
  auto const body = [&] { called = true; };
  CHECK_THROWS_AS(with_timeout(1s, body), fibers::invalid_state_error);
  CHECK_THROWS_AS(with_timeout_at(fibers::clock::now(), body), fibers::invalid_state_error);
  CHECK_THROWS_AS(move_on_after(1s, body), fibers::invalid_state_error);
  CHECK_THROWS_AS(fibers::wait_for(body, 1s), fibers::invalid_state_error);
  CHECK_FALSE(called);
}

TEST_CASE_METHOD(virtual_time, "timeout: in a callback of the loop it says that it needs a task", "[TO-25]") {
  run([&] {
    auto const child = spawn([] {});
    child.on_done([&] { seen(how([] { with_timeout(1s, [] {}); }).substr(0, 38)); });
    sleep_for(1s);
  });
  CHECK(seen == "failed: fibers: this needs a running t@0");
}
