// SPDX-License-Identifier: BSL-1.0

// Every scope inside every other one, ended in every way at every moment. Whatever the two scopes are: no task is left
// running, every request that a scope made is withdrawn, and the end takes exactly the time of the clean-up and of
// shielded work.
//
//   time 0..4 ms   four steps of work
//        4..5 ms   clean-up, which also follows when the work is broken off

#include "scopes.hpp"

#include <array>
#include <fibers/for_each_concurrent.hpp>
#include <fibers/gather.hpp>
#include <fibers/race.hpp>
#include <fibers/shield.hpp>
#include <fibers/task_group.hpp>
#include <fibers/timeout.hpp>
#include <fibers/wait.hpp>
#include <functional>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::duration;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::sanitized;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

using body = std::function<void()>;

constexpr duration never = 1h;
constexpr duration work_ends = 4ms;
constexpr duration all_ends = 5ms;
constexpr duration step = 500us;  // at each suspension point, and between them

struct scope {
  char const* name;
  bool own_task;      // its body runs in the calling task
  bool shields;       // requests from outside do not affect its body
  bool has_siblings;  // other callables run beside the body
  void (*enter)(body const& inside, body const& sibling);
};

void nothing() {}

std::array const scopes = {
    scope{"with_timeout", true, false, false,
          [](body const& inside, body const&) { fibers::with_timeout(never, inside); }},
    scope{"with_shield", true, true, false, [](body const& inside, body const&) { fibers::with_shield(inside); }},
    scope{"shield(task)", false, false, false,
          [](body const& inside, body const&) {
            auto task = spawn(inside);  // its owner cancels it if the wait is interrupted
            fibers::shield(task);
          }},
    scope{"with_task_group", false, false, true,
          [](body const& inside, body const& sibling) {
            fibers::with_task_group([&](fibers::task_group& group) {
              group.spawn(inside);
              group.spawn(sibling);
            });
          }},
    scope{"gather", false, false, true,
          [](body const& inside, body const& sibling) { fibers::gather(inside, sibling); }},
    scope{"wait", false, false, false,
          [](body const& inside, body const&) {
            std::array tasks{spawn(inside)};
            fibers::wait(tasks);
            tasks.front().get();
          }},
    scope{"race", false, false, true,
          [](body const& inside, body const& sibling) {
            fibers::race(inside, [&] {
              sibling();
              sleep_for(never);
            });
          }},
    scope{"for_each_concurrent", false, false, true,
          [](body const& inside, body const& sibling) {
            fibers::for_each_concurrent(std::array{&inside, &sibling}, 2, [](body const* each) { (*each)(); });
          }},
};

// The innermost work.
void work() {
  counted const running;
  fibers::cleanup_guard const clean_up([] { sleep_for(1ms); });
  for (int i = 0; i != 4; ++i) sleep_for(1ms);
}

void fail_after(duration time) {
  sleep_for(time);
  throw std::runtime_error("no");
}

// "cancelled, asked 1, 0 left, after 2.5 ms"
std::string result(std::string const& end, int asked, duration time) {
  std::ostringstream text;
  text << end << ", asked " << asked << ", " << counted::alive << " left, after "
       << std::chrono::duration<double, std::milli>(time).count() << " ms";
  return text.str();
}

std::string kind_of(std::string const& end) {
  for (char const* const kind : {"failed: timed out", "failed", "cancelled", "returned"}) {
    if (end.starts_with(kind)) return kind;
  }
  return end;
}

// Runs `subject` as a task while `others` acts on it. Returns how the task ended and when.
template <class Others>
std::string try_out(body const& subject, Others others) {
  auto const begin = fibers::clock::now();
  auto ended = begin;
  std::string end = "never begun";
  int asked = 0;
  auto const task = spawn([&] {
    end = kind_of(how([&] {
      subject();
      this_task::checkpoint();  // delivers a request that was pending
    }));
    asked = this_task::cancelling();
    ended = fibers::clock::now();
  });
  others(task.handle());
  task.wait();
  return result(end, asked, ended - begin);
}

bool keeps(scope const& s) {
  return s.own_task || std::string_view(s.name) == "gather" || std::string_view(s.name) == "race";
}

duration broken_off(bool shielded, duration when) { return shielded ? all_ends : std::min(when, work_ends) + 1ms; }

// Tests all pairs, and returns the list of mismatches.
class pairs : public virtual_time {
 protected:
  template <class Try>
  void each_pair(Try attempt) {
    run([&] {
      for (auto const& outer : scopes) {
        for (auto const& inner : scopes) {
          for (duration when = step; when <= all_ends + step; when += step) attempt(outer, inner, when);
        }
      }
    });
    CHECK(tried == scopes.size() * scopes.size() * static_cast<std::size_t>((all_ends + step) / step));
    CHECK(wrong == std::vector<std::string>{});
  }

  void compare(scope const& outer, scope const& inner, duration when, std::string const& is,
               std::string const& expected) {
    ++tried;
    if (is == expected) return;
    wrong.push_back(std::string(inner.name) + " in " + outer.name + " at " + fibers::detail::to_string(when) + ": " +
                    is + "; expected: " + expected);
  }

  std::size_t tried = 0;
  std::vector<std::string> wrong;
};

// The two scopes around the work, with siblings that end by themselves.
body nest(scope const& outer, scope const& inner) {
  return [&] { outer.enter([&] { inner.enter(work, nothing); }, nothing); };
}

}  // namespace

TEST_CASE_METHOD(pairs, "scopes: each in each, not disturbed, ends in time") {
  each_pair([&](scope const& outer, scope const& inner, duration when) {
    auto const is = try_out(nest(outer, inner), [](auto const&) {});
    compare(outer, inner, when, is, result("returned", 0, all_ends));
  });
}

TEST_CASE_METHOD(pairs, "scopes: each in each, cancelled at each moment, is left once it is clean") {
  each_pair([&](scope const& outer, scope const& inner, duration when) {
    auto const is = try_out(nest(outer, inner), [when](auto const& task) {
      sleep_for(when);
      task.cancel();
    });
    bool const too_late = when > all_ends;
    auto const time = broken_off(outer.shields || inner.shields, when);
    compare(outer, inner, when, is, too_late ? result("returned", 0, all_ends) : result("cancelled", 1, time));
  });
}

TEST_CASE_METHOD(pairs, "scopes: each in each, cancelled twice, is left once it is clean") {
  each_pair([&](scope const& outer, scope const& inner, duration when) {
    auto const is = try_out(nest(outer, inner), [when](auto const& task) {
      sleep_for(when);
      task.cancel();
      sleep_for(step);
      task.cancel();  // its clean-up is shielded
    });
    if (when + step == all_ends) {  // the second request arrives at the end
      ++tried;
      return;
    }
    bool const too_late = when > all_ends;
    auto const time = broken_off(outer.shields || inner.shields, when);
    bool const ended_between = time < when + step;
    compare(outer, inner, when, is,
            too_late ? result("returned", 0, all_ends) : result("cancelled", ended_between ? 1 : 2, time));
  });
}

TEST_CASE_METHOD(pairs, "scopes: each in each, timed out at each moment, is left once it is clean") {
  each_pair([&](scope const& outer, scope const& inner, duration when) {
    auto const is = try_out([&, when] { fibers::with_timeout(when, nest(outer, inner)); }, [](auto const&) {});
    // A request that a shield keeps pending has no effect if the block does not wait any more after the shield. The
    // same holds for clean-up on the normal path. A scope that keeps results returns them if its tasks were not
    // interrupted.
    bool const same_task = outer.own_task && inner.own_task;
    bool const kept = keeps(outer) && keeps(inner) && (same_task ? when > work_ends : when >= work_ends);
    bool const held = outer.shields || (inner.shields && keeps(outer)) || kept;
    auto const time = broken_off(outer.shields || inner.shields, when);
    compare(outer, inner, when, is,
            held || when > all_ends ? result("returned", 0, all_ends) : result("failed: timed out", 0, time));
  });
}

TEST_CASE_METHOD(pairs, "scopes: each in each, when the work fails at any moment, propagates that") {
  each_pair([&](scope const& outer, scope const& inner, duration when) {
    auto const fails = [when] {
      counted const running;
      fail_after(when);
    };
    auto const is = try_out([&] { outer.enter([&] { inner.enter(fails, nothing); }, nothing); }, [](auto const&) {});
    compare(outer, inner, when, is, result("failed", 0, when));
  });
}

TEST_CASE_METHOD(pairs, "scopes: each in each, when a sibling of the inner one fails, is left once it is clean") {
  each_pair([&](scope const& outer, scope const& inner, duration when) {
    if (!outer.has_siblings) {
      ++tried;
      return;
    }
    auto const is = try_out([&] { outer.enter([&] { inner.enter(work, nothing); }, [when] { fail_after(when); }); },
                            [](auto const&) {});
    bool const too_late = when > all_ends && std::string(outer.name) == "race";  // race() does not wait for that
    auto const time = when > all_ends ? when : broken_off(inner.shields, when);
    compare(outer, inner, when, is, too_late ? result("returned", 0, all_ends) : result("failed", 0, time));
  });
}
