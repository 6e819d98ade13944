// SPDX-License-Identifier: BSL-1.0
#include <cfenv>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../../fibers/detail/parts/context_switch.hpp"
#include "../../fibers/detail/parts/stack_pool.hpp"
#include "catch.hpp"

using fibers::detail::context;
using fibers::detail::context_switch;
using fibers::detail::stack_pool;

namespace {

using texts = std::vector<std::string>;

stack_pool& pool() {
  static stack_pool stacks(64 * 1024);
  return stacks;
}

// Runs a body in steps: go_on() runs it until the body calls stop() or ends.
class fiber {
 public:
  explicit fiber(std::function<void(fiber&)> body) : body_(std::move(body)), memory_(pool().allocate()) {
    switch_.create(inside_, memory_, &work, this);
  }
  ~fiber() {
    context_switch::forget(inside_);
    pool().release(memory_);
  }
  fiber(fiber const&) = delete;
  fiber& operator=(fiber const&) = delete;

  void go_on() { switch_.switch_to(outside_, inside_); }
  void stop() { switch_.switch_to(inside_, outside_); }
  unsigned uncaught() const { return switch_.uncaught_exceptions(); }
  bool over() const { return over_; }

 private:
  static void work(void* self) noexcept {
    auto& me = *static_cast<fiber*>(self);
    me.body_(me);
    me.over_ = true;
    me.stop();
  }

  std::function<void(fiber&)> body_;
  fibers::detail::stack memory_;
  context_switch switch_;
  context outside_, inside_;
  bool over_ = false;
};

// Catches an exception, suspends in the handler, and returns what `throw;` throws there.
std::function<void(fiber&)> rethrows_after_stop(std::string name, texts& log) {
  return [name = std::move(name), &log](fiber& self) {
    try {
      try {
        throw std::runtime_error(name);
      } catch (std::runtime_error const&) {
        self.stop();
        throw;
      }
    } catch (std::runtime_error const& error) {
      log.push_back(name + " rethrew " + error.what());
    }
  };
}

std::string current_exception() {
  auto const error = std::current_exception();
  if (!error) return "none";
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("context: a fiber resumes where it was suspended, with its locals") {
  texts log;
  fiber counter([&](fiber& self) {
    for (int i = 0; i < 3; ++i) {
      log.push_back(std::to_string(i));
      self.stop();
    }
  });
  while (!counter.over()) {
    counter.go_on();
    log.push_back("outside");
  }
  CHECK(log == texts{"0", "outside", "1", "outside", "2", "outside", "outside"});
}

TEST_CASE("context: `throw;` after a suspension in a handler rethrows what that fiber caught, in either order") {
  texts log;
  fiber a(rethrows_after_stop("a", log)), b(rethrows_after_stop("b", log));
  a.go_on();
  b.go_on();
  SECTION("first in, first out") {
    a.go_on();
    b.go_on();
    CHECK(log == texts{"a rethrew a", "b rethrew b"});
  }
  SECTION("first in, last out") {
    b.go_on();
    a.go_on();
    CHECK(log == texts{"b rethrew b", "a rethrew a"});
  }
}

TEST_CASE("context: a fiber begun inside a handler handles nothing, and the handler keeps its exception") {
  std::string inside, outside;
  unsigned uncaught = 9;
  try {
    throw std::runtime_error("outer");
  } catch (std::runtime_error const&) {
    fiber fresh([&](fiber& self) {
      inside = current_exception();
      uncaught = self.uncaught();
      self.stop();
      inside += ", " + current_exception();
    });
    fresh.go_on();
    fresh.go_on();
    outside = current_exception();
  }
  CHECK(inside == "none, none");
  CHECK(uncaught == 0);
  CHECK(outside == "outer");
}

TEST_CASE("context: nested handlers are restored in order") {
  texts log;
  auto const nest = [&](std::string const& name) {
    return [&log, name](fiber& self) {
      try {
        throw std::runtime_error(name + "1");
      } catch (std::exception const&) {
        try {
          throw std::runtime_error(name + "2");
        } catch (std::exception const&) {
          self.stop();
          log.push_back(current_exception());
        }
        self.stop();
        log.push_back(current_exception());
      }
      log.push_back(current_exception());
    };
  };
  fiber a(nest("a")), b(nest("b"));
  for (int i = 0; i < 3; ++i) {
    a.go_on();
    b.go_on();
  }
  CHECK(log == texts{"a2", "b2", "a1", "none", "b1", "none"});
}

TEST_CASE("context: exceptions in flight are counted per fiber, also across a suspension in a destructor") {
  std::vector<int> counts;
  struct stops {
    fiber& self;
    std::vector<int>& log;
    ~stops() {
      log.push_back(std::uncaught_exceptions());
      self.stop();
      log.push_back(std::uncaught_exceptions());
    }
  };
  fiber unwinding([&](fiber& self) {
    try {
      stops const guard{self, counts};
      throw std::runtime_error("x");
    } catch (std::runtime_error const&) {
      counts.push_back(std::uncaught_exceptions());
    }
  });
  unwinding.go_on();
  CHECK(std::uncaught_exceptions() == 0);
  fiber other([&](fiber& self) { counts.push_back(static_cast<int>(self.uncaught())); });
  other.go_on();
  unwinding.go_on();
  CHECK(counts == std::vector{1, 0, 1, 0});
}

TEST_CASE("context: many fibers throw and catch exceptions between the suspensions of the others") {
  std::vector<std::unique_ptr<fiber>> fibers;
  texts log;
  for (int i = 0; i < 20; ++i) fibers.push_back(std::make_unique<fiber>(rethrows_after_stop(std::to_string(i), log)));
  for (auto& each : fibers) each->go_on();
  for (auto each = fibers.rbegin(); each != fibers.rend(); ++each) (*each)->go_on();
  texts expected;
  for (int i = 19; i >= 0; --i) expected.push_back(std::to_string(i) + " rethrew " + std::to_string(i));
  CHECK(log == expected);
}

TEST_CASE("context: a released stack serves the next fiber") {
  int runs = 0;
  for (int i = 0; i < 1000; ++i) {
    fiber once([&](fiber&) { ++runs; });
    once.go_on();
  }
  CHECK(runs == 1000);
  CHECK(pool().in_use() == 0);
  CHECK(pool().idle() <= 32);
}

TEST_CASE("context: floating-point and saved registers survive a switch") {
  double sum = 0;
  fiber adds([&](fiber& self) {
    double a = 1.5, b = 2.25, c = 3.125;
    long d = 11, e = 13, f = 17;
    for (int i = 0; i < 3; ++i) {
      self.stop();
      a += 1, b += 2, c += 3, d += 1, e += 2, f += 3;
    }
    sum = a + b + c + static_cast<double>(d + e + f);
  });
  while (!adds.over()) adds.go_on();
  CHECK(sum == 1.5 + 2.25 + 3.125 + 11 + 13 + 17 + 3 * (1 + 2 + 3) * 2);
}

TEST_CASE("context: each fiber keeps its own rounding mode") {
  std::vector<int> modes;
  fiber upward([&](fiber& self) {
    std::fesetround(FE_UPWARD);
    self.stop();
    modes.push_back(std::fegetround());
  });
  upward.go_on();
  modes.push_back(std::fegetround());
  std::fesetround(FE_DOWNWARD);
  upward.go_on();
  modes.push_back(std::fegetround());
  std::fesetround(FE_TONEAREST);
  CHECK(modes == std::vector{FE_TONEAREST, FE_UPWARD, FE_DOWNWARD});
}
