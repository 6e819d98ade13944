// SPDX-License-Identifier: BSL-1.0
#include <pthread.h>

#include <exception>
#include <fibers/detail/engine/request.hpp>
#include <fibers/detail/engine/unhandled.hpp>
#include <fibers/run.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "child.hpp"

using Catch::Matchers::ContainsSubstring;
using fibers::detail::describe;
using fibers::detail::end_observer;
using fibers::detail::ending;
using fibers::detail::stage;
using fibers::detail::task_access;
using fibers::detail::task_state;
using fibers::testing::in_child;

namespace {

namespace odd {
struct exception {};
}  // namespace odd

template <class E>
std::string description(E error) {
  return describe(std::make_exception_ptr(std::move(error)));
}

template <class F>
void run_virtual(F main) {
  fibers::run({.clock = fibers::clock_kind::virtual_time}, std::move(main));
}

struct recorder final : end_observer {
  recorder(char n, std::string& l) : name(n), log(l) {}
  void ended(task_state& task) noexcept override {
    log += name;
    saw_outcome = task.finished() && task.ending() != ending::none;
  }
  char name;
  std::string& log;
  bool saw_outcome = false;
};

task_state& state_of(fibers::detail::task_base const& task) { return *task_access::state(task); }

}  // namespace

TEST_CASE("task_state: the states are created, running, suspended, ready and finished") {
  std::vector<stage> seen;
  run_virtual([&] {
    fibers::task<void> task;
    auto const note = [&] { seen.push_back(state_of(task).stage()); };
    task = fibers::spawn([&] {
      note();
      fibers::sleep_for(std::chrono::seconds(1));
      fibers::this_task::yield();
    });
    note();
    fibers::this_task::yield();
    note();
    fibers::sleep_for(std::chrono::seconds(1));  // its timer is later than the task's, so the task has just yielded
    note();
    task.wait();
    note();
  });
  CHECK(seen == std::vector{stage::created, stage::running, stage::suspended, stage::ready, stage::finished});
}

TEST_CASE("task_state: observers are notified of the end in order, and not after their removal") {
  std::string log;
  recorder a('a', log), b('b', log), c('c', log), late('d', log);
  bool late_on = true;
  run_virtual([&] {
    auto task = fibers::spawn([] {});
    auto& state = state_of(task);
    for (auto* each : {&a, &b, &c}) state.observe(*each);
    state.unobserve(b);
    state.unobserve(b);  // has no effect
    log += state.observed() ? "+" : "-";
    task.wait();
    log += state.observed() ? "+" : "-";
    late_on = state.observe(late);
  });
  CHECK(log == "+ac-");
  CHECK(a.saw_outcome);
  CHECK_FALSE(late_on);
}

TEST_CASE("task_state: the name is the latest one given, otherwise made of its number") {
  std::string number, unnamed, named, renamed;
  run_virtual([&] {
    auto task = fibers::spawn([] {});
    number = std::to_string(task.id().value);
    unnamed = task.name();
    task.name("parse");
    named = task.name();
    task.name("");
    renamed = task.name();
  });
  CHECK(unnamed == "task-" + number);
  CHECK(named == "parse");
  CHECK(renamed == unnamed);
}

TEST_CASE("task_state: an exception is described by its text, or by its type") {
  CHECK(description(std::runtime_error("disk full")) == "disk full");
  CHECK(description(fibers::cancelled_error("stop")) == "cancelled: stop");
  CHECK_THAT(description(odd::exception{}), ContainsSubstring("odd::exception"));
  CHECK(description(5) == "an exception of type int");
}

TEST_CASE("task_state: without a hook stderr names the task, its call site and an unfetched error") {
  auto const end = in_child(
      [] { run_virtual([] { fibers::spawn("parse", [] { throw std::runtime_error("disk full"); }).detach(); }); });
  CHECK(end.with(0));
  CHECK_THAT(end.text, ContainsSubstring("task 'parse' (spawned at task_state.cpp:") && ContainsSubstring("disk full"));
}

TEST_CASE("task_state: a hook that throws does no harm, and stderr shows both errors") {
  auto const end = in_child([] {
    fibers::run({.clock = fibers::clock_kind::virtual_time,
                 .on_unhandled = [](std::string const&, std::exception_ptr) { throw std::runtime_error("hook"); }},
                [] { fibers::spawn("parse", [] { throw std::runtime_error("disk full"); }).detach(); });
  });
  CHECK(end.with(0));
  CHECK_THAT(end.text, ContainsSubstring("on_unhandled itself failed: hook") && ContainsSubstring("disk full"));
}

TEST_CASE("task_state: a fetched outcome is not reported") {
  std::vector<std::string> reported;
  fibers::run({.clock = fibers::clock_kind::virtual_time,
               .on_unhandled = [&](std::string const& task, std::exception_ptr) { reported.push_back(task); }},
              [] {
                auto const fail = [] { throw std::runtime_error("x"); };
                auto looked_at = fibers::spawn("looked at", fail);
                auto cancelled = fibers::spawn("cancelled", fail);
                auto forgotten = fibers::spawn("forgotten", fail);
                forgotten.wait();  // does not fetch the error
                cancelled.cancel();
                static_cast<void>(looked_at.exception());
              });
  CHECK(reported == std::vector<std::string>{"forgotten"});
}

TEST_CASE("task_state: a body that ends its thread aborts the program, and the last line on stderr names the task") {
  auto const end =
      in_child([] { run_virtual([] { fibers::spawn("leaver", [] { ::pthread_exit(nullptr); }).wait(); }); });
  CHECK(end.by(SIGABRT));
  CHECK_THAT(end.text,
             ContainsSubstring("task 'leaver' (spawned at task_state.cpp:") && ContainsSubstring("pthread_exit"));
}
