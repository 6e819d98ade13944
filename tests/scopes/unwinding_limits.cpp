// SPDX-License-Identifier: BSL-1.0

// Every scope with a request of its own, and every wait with a limit, in a destructor: on the normal path and during
// unwinding, alone and nested, with and without a request from outside.

#include <array>
#include <fibers/fibers.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::at_exit;
using fibers::testing::how;
using fibers::testing::virtual_time;

namespace {

constexpr auto forever = 1h;
constexpr auto limit = 1s;

struct scope {
  char const* name;
  std::function<void()> enter;  // ends by itself after `limit`
  char const* end;              // in this way
};

[[noreturn]] void fail_after_limit() {
  sleep_for(limit);
  throw std::runtime_error("no");
}

std::vector<scope> const scopes{
    {"with_timeout", [] { fibers::with_timeout(limit, [] { sleep_for(forever); }); }, "failed: timed out"},
    {"with_timeout_at", [] { fibers::with_timeout_at(fibers::clock::now() + limit, [] { sleep_for(forever); }); },
     "failed: timed out"},
    {"with_timeout, rescheduled",
     [] {
       fibers::with_timeout(forever, [](fibers::timeout_scope& block) {
         block.reschedule_after(limit);
         sleep_for(forever);
       });
     },
     "failed: timed out"},
    {"move_on_after", [] { fibers::move_on_after(limit, [] { sleep_for(forever); }); }, "returned"},
    {"move_on_at", [] { fibers::move_on_at(fibers::clock::now() + limit, [] { sleep_for(forever); }); }, "returned"},
    {"wait_for a body", [] { fibers::wait_for([] { sleep_for(forever); }, limit); }, "failed: timed out"},
    {"wait_for a task",
     [] {
       auto task = spawn([] { sleep_for(forever); });
       fibers::wait_for(task, limit);
     },
     "failed: timed out"},
    {"wait_for a task, of which another one waits",
     [] {
       auto const inner = spawn([] { sleep_for(forever); });
       auto task = spawn([handle = inner.handle()] { handle.get(); });
       fibers::wait_for(task, limit);
     },
     "failed: timed out"},
    {"a limit around gather",
     [] {
       fibers::move_on_after(limit, [] { fibers::gather([] { sleep_for(forever); }, [] { sleep_for(forever); }); });
     },
     "returned"},
    {"a limit around a group",
     [] {
       fibers::move_on_after(limit, [] {
         fibers::with_task_group([](fibers::task_group& group) { group.spawn([] { sleep_for(forever); }); });
       });
     },
     "returned"},
    {"a limit around a mutex",
     [] {
       fibers::mutex mutex;
       mutex.lock();
       fibers::move_on_after(limit, [&] { mutex.lock(); });
     },
     "returned"},
    {"a limit around a condition",
     [] {
       fibers::mutex mutex;
       fibers::condition_variable never;
       std::unique_lock lock(mutex);
       fibers::move_on_after(limit, [&] { never.wait(lock); });
     },
     "returned"},
    {"with_shield", [] { fibers::with_shield(limit, [] { sleep_for(forever); }); }, "failed: timed out"},
    {"wait",
     [] {
       std::array tasks{spawn([] { sleep_for(forever); })};
       fibers::wait(tasks, fibers::return_when::all_completed, limit);
     },
     "returned"},
    {"as_completed",
     [] {
       std::array tasks{spawn([] { sleep_for(forever); })};
       fibers::as_completed(tasks, limit).next();
     },
     "failed: timed out"},
    {"a group whose child fails",
     [] {
       fibers::with_task_group([](fibers::task_group& group) {
         group.spawn(fail_after_limit);
         sleep_for(forever);
       });
     },
     "failed: task group"},
    {"a group that is stopped",
     [] {
       fibers::with_task_group([](fibers::task_group& group) {
         group.spawn([&] {
           sleep_for(limit);
           group.stop();
         });
         sleep_for(forever);
       });
     },
     "returned"},
    {"gather of which one fails", [] { fibers::gather([] { fail_after_limit(); }, [] { sleep_for(forever); }); },
     "failed: no"},
    {"race", [] { fibers::race([] { sleep_for(limit); }, [] { sleep_for(forever); }); }, "returned"},
};

enum class outside { nothing, before, meanwhile };

// Enters the scope in a destructor. Returns how that ended and when, and how the task's next wait ended.
std::string try_out(std::function<void()> const& enter, bool unwinding, outside request) {
  std::string seen;
  auto const begin = fibers::clock::now();
  auto const note = [&](std::string what) {
    for (char const* const kind : {"failed: timed out", "failed: task group", "cancelled"}) {
      if (what.starts_with(kind)) what = kind;
    }
    auto const seconds = std::chrono::duration_cast<std::chrono::seconds>(fibers::clock::now() - begin);
    seen += what + "@" + std::to_string(seconds.count()) + " ";
  };
  auto const task = spawn([&] {
    try {
      at_exit const leaves{[&] { note(how(enter)); }};
      if (request == outside::before) fibers::this_task::cancel("outside");
      if (unwinding) throw std::runtime_error("unwinding");
    } catch (std::runtime_error const&) {
    }
    note(how([] { sleep_for(1s); }));
  });
  if (request == outside::meanwhile) {
    sleep_for(500ms);
    task.handle().cancel("outside");
  }
  task.wait();
  return seen;
}

}  // namespace

TEST_CASE_METHOD(virtual_time, "limits: each ends its body, in a destructor on both paths") {
  bool const unwinding = GENERATE(false, true);
  for (auto const& [name, enter, end] : scopes) {
    INFO(name << (unwinding ? ", unwinding" : ""));
    std::string result;
    run([&, enter = &enter] { result = try_out(*enter, unwinding, outside::nothing); });
    CHECK(result == std::string(end) + "@1 returned@2 ");
  }
}

TEST_CASE_METHOD(virtual_time, "limits: each ends its body while a request from outside is pending") {
  auto const request = GENERATE(outside::before, outside::meanwhile);
  for (auto const& [name, enter, end] : scopes) {
    INFO(name << (request == outside::before ? ", asked before" : ", asked meanwhile"));
    std::string result;
    run([&, enter = &enter] { result = try_out(*enter, true, request); });
    CHECK(result == std::string(end) + "@1 cancelled@1 ");
  }
}

TEST_CASE_METHOD(virtual_time, "limits: each ends its body inside another one during unwinding") {
  auto const request = GENERATE(outside::nothing, outside::meanwhile);
  for (auto const& [name, enter, end] : scopes) {
    INFO(name);
    std::string inside, around;
    run([&, enter = &enter] {
      inside = try_out([&] { fibers::with_timeout(5s, *enter); }, true, request);
      around = try_out([&] { fibers::with_timeout(limit, [&] { fibers::with_shield(*enter), sleep_for(5s); }); }, true,
                       request);
    });
    std::string const after = request == outside::nothing ? "@1 returned@2 " : "@1 cancelled@1 ";
    CHECK(inside == end + after);
    // A scope that ends normally in the shield is followed by a wait, which the outer limit then ends.
    CHECK(around == (std::string(end) == "returned" ? "failed: timed out" : end) + after);
  }
}

TEST_CASE_METHOD(virtual_time, "limits: one around the destructor waits until the stack is unwound") {
  run([&] {
    seen(how([&] {
           fibers::with_timeout(1s, [&] {
             try {
               at_exit const slow{[&] { seen(how([] { fibers::move_on_after(3s, [] { sleep_for(forever); }); })); }};
               throw std::runtime_error("unwinding");
             } catch (std::runtime_error const&) {
             }
             sleep_for(forever);
           });
         }).substr(0, 17));
  });
  CHECK(seen == "returned@3, failed: timed out@3");
}
