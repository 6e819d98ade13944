// SPDX-License-Identifier: BSL-1.0
#include <cstdlib>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancelled_error;
using fibers::clock_kind;
using fibers::run_options;

namespace {

using texts = std::vector<std::string>;
run_options const in_virtual_time{.clock = clock_kind::virtual_time};

template <class F>
decltype(auto) run_virtual(F&& main) {
  return fibers::run(in_virtual_time, std::forward<F>(main));
}

void for_ever() { fibers::sleep_for(fibers::no_timeout); }

template <class F>
std::string what_of(F function) {
  try {
    function();
  } catch (cancelled_error const& error) {
    return "cancelled: " + error.message();
  } catch (std::exception const& error) {
    return error.what();
  }
  return "nothing";
}

// Sets a variable, and restores it in the destructor.
struct environment {
  explicit environment(char const* value) {
    if (auto const* const before = std::getenv("FIBERS_CLOCK")) old = before;
    ::setenv("FIBERS_CLOCK", value, 1);
  }
  ~environment() {
    if (old.empty()) {
      ::unsetenv("FIBERS_CLOCK");
    } else {
      ::setenv("FIBERS_CLOCK", old.c_str(), 1);
    }
  }
  std::string old;
};

}  // namespace

// --- results ---

TEST_CASE("run: returns what main returns, of any type", "[RUN-01]") {
  struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
  };
  int variable = 0;
  CHECK(fibers::run([] { return 5; }) == 5);
  CHECK(&fibers::run([&]() -> int& { return variable; }) == &variable);
  CHECK(*fibers::run([] { return std::make_unique<int>(7); }) == 7);
  CHECK(fibers::run([] { return no_default(9); }).value == 9);
  STATIC_REQUIRE(std::is_void_v<decltype(fibers::run([] {}))>);
  CHECK(fibers::run([owned = std::make_unique<int>(3)] { return *owned; }) == 3);
  CHECK(run_virtual([] {
          fibers::sleep_for(24h);
          return fibers::spawn([] { return 1; }).get() + 1;
        }) == 2);
}

TEST_CASE("run: throws what left main, the same object", "[RUN-02]") {
  struct special : std::runtime_error {
    using runtime_error::runtime_error;
    int detail = 0;
  };
  int detail = 0;
  try {
    fibers::run([] {
      special error("no");
      error.detail = 5;
      throw error;
    });
  } catch (special const& error) {
    detail = error.detail;
  }
  CHECK(detail == 5);
  CHECK_THROWS_AS(fibers::run([] { throw 5; }), int);
}

TEST_CASE("run: a main that ends cancelled, by any party, throws cancelled_error", "[RUN-02]") {
  CHECK(what_of([] {
          run_virtual([] {
            fibers::this_task::cancel("enough");
            for_ever();
          });
        }) == "cancelled: enough");
  CHECK(what_of([] { run_virtual([] { throw cancelled_error("by hand"); }); }) == "cancelled: by hand");
}

TEST_CASE("run: a main that is cancelled just before it returns was cancelled", "[TRAP-24]") {
  CHECK(what_of([] {
          run_virtual([] {
            fibers::this_task::cancel("at the end");
            return 5;
          });
        }) == "cancelled: at the end");
}

TEST_CASE("run: main is a task named main") {
  std::string name;
  bool handled = false;
  run_virtual([&] {
    name = fibers::this_task::name();
    handled = static_cast<bool>(fibers::this_task::handle());
  });
  CHECK(name == "main");
  CHECK(handled);
}

TEST_CASE("run: calls one after the other, also after a failure, begin anew", "[RUN-23]") {
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_AS(run_virtual([] {
                      fibers::spawn(for_ever).detach();
                      fibers::this_task::yield();
                      throw std::runtime_error("x");
                    }),
                    std::runtime_error);
    CHECK(run_virtual([] {
            fibers::sleep_for(1s);
            return 5;
          }) == 5);
  }
}

// --- arguments ---

TEST_CASE("run: inside run() it is refused, nothing begins, and the outer one continues", "[RUN-03]") {
  std::string text;
  bool ran = false;
  auto const result = run_virtual([&] {
    text = what_of([&] { fibers::run([&] { ran = true; }); });
    fibers::sleep_for(1s);
    return 5;
  });
  CHECK(result == 5);
  CHECK_FALSE(ran);
  CHECK_THAT(text, ContainsSubstring("run.cpp:") && ContainsSubstring("spawn()"));
}

TEST_CASE("run: in a callback of a loop it is refused, too", "[RUN-03]") {
  std::string text;
  run_virtual([&] {
    auto task = fibers::spawn([] {});
    task.on_done([&] { text = what_of([] { fibers::run([] {}); }); });
    task.get();
    fibers::this_task::yield();
  });
  CHECK_THAT(text, ContainsSubstring("run() inside of run()"));
}

TEST_CASE("run: an empty callable is refused") {
  CHECK_THROWS_AS(fibers::run(std::function<void()>()), std::invalid_argument);
  CHECK_THROWS_AS(fibers::run(static_cast<void (*)()>(nullptr)), std::invalid_argument);
}

TEST_CASE("run: invalid options are refused, and main is destroyed without having run") {
  auto const refused = [](run_options const& options) {
    bool ran = false;
    auto const alive = std::make_shared<int>();
    CHECK_THROWS_AS(fibers::run(options, [&ran, alive] { ran = true; }), std::invalid_argument);
    CHECK_FALSE(ran);
    CHECK(alive.use_count() == 1);
  };
  for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{16 * 1024 - 1},
                                 std::size_t{1024 * 1024 * 1024} + 1, std::numeric_limits<std::size_t>::max()}) {
    refused({.stack_size = size});
  }
  refused({.shutdown_report_after = 0s});
  refused({.shutdown_report_after = -1s});
  refused({.cancel_again_after = 0s});
  CHECK(fibers::run([] { return 5; }) == 5);
}

TEST_CASE("run: the smallest and the largest stack size work") {
  CHECK(fibers::run({.stack_size = 16 * 1024}, [] { return 5; }) == 5);
  CHECK(fibers::run({.stack_size = 1024 * 1024 * 1024}, [] { return 5; }) == 5);
}

TEST_CASE("run: FIBERS_CLOCK chooses the clock of an unchanged program") {
  auto const day = [](run_options const& options) {
    return fibers::run(options, [] {
      auto const start = fibers::clock::now();
      fibers::sleep_for(24h);
      return fibers::clock::now() - start;
    });
  };
  SECTION("virtual") {
    environment const variable("virtual");
    CHECK(day({}) == 24h);
  }
  SECTION("empty leaves it to the program") {
    environment const variable("");
    CHECK(day(in_virtual_time) == 24h);
  }
  SECTION("so does steady") {
    environment const variable("steady");
    CHECK(day(in_virtual_time) == 24h);
  }
  SECTION("anything else is refused") {
    environment const variable("sundial");
    CHECK_THROWS_AS(day({}), std::invalid_argument);
    CHECK_THROWS_WITH(day({}), ContainsSubstring("'sundial'") && ContainsSubstring("'virtual'"));
  }
}
