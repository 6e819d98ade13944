// SPDX-License-Identifier: BSL-1.0
#include <unistd.h>

#include <fibers/event.hpp>
#include <fibers/run.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "child.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::cancel_origin;
using fibers::cancelled_error;
using fibers::clock_kind;
using fibers::run_options;
using fibers::testing::in_child;

namespace {

using texts = std::vector<std::string>;
run_options const in_virtual_time{.clock = clock_kind::virtual_time};

template <class F>
decltype(auto) run_virtual(F&& main) {
  return fibers::run(in_virtual_time, std::forward<F>(main));
}

void for_ever() { fibers::sleep_for(fibers::no_timeout); }

// Swallows every request, and counts them.
[[noreturn]] void never_ends(int& requests) {
  for (;;) {
    try {
      for_ever();
    } catch (cancelled_error const&) {
      ++requests;
    }
  }
}

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

int count(std::string const& text, std::string const& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("run: remaining tasks are cancelled once, in the order of their spawning, and waited for", "[RUN-04]") {
  texts log;
  auto const result = run_virtual([&] {
    for (std::string const name : {"a", "b", "c"}) {
      fibers::spawn(name, [&log, name] {
        try {
          for_ever();
        } catch (cancelled_error const& error) {
          log.push_back(name + (error.origin().via == cancel_origin::kind::shutdown ? " is told" : "?"));
          fibers::sleep_for(5s);
          log.push_back(name + " has ended, asked " + std::to_string(fibers::this_task::cancelling()));
          throw;
        }
      }).detach();
    }
    fibers::this_task::yield();
    return 5;
  });
  CHECK(result == 5);
  CHECK(log == texts{"a is told", "b is told", "c is told", "a has ended, asked 1", "b has ended, asked 1",
                     "c has ended, asked 1"});
}

TEST_CASE("run: a task that was cancelled before it began never begins, and its objects are destroyed", "[TRAP-23]") {
  bool ran = false;
  std::weak_ptr<int> held;
  fibers::task_handle<> handle;
  run_virtual([&] {
    auto resource = std::make_shared<int>();
    held = resource;
    handle = fibers::spawn([&ran, owned = std::move(resource)] { ran = true; }).detach();
    handle.cancel();
  });
  CHECK_FALSE(ran);
  CHECK(held.expired());
  CHECK(handle.cancelled());
}

TEST_CASE("run: a task without a handle is not forgotten", "[TRAP-10]") {
  texts log;
  run_virtual([&] {
    fibers::spawn([&] {
      for (int i = 0; i < 3; ++i) fibers::sleep_for(1s);
      log.push_back("ended");
    }).detach();
    fibers::sleep_for(4s);
    log.push_back("main");
  });
  CHECK(log == texts{"ended", "main"});
}

TEST_CASE("run: the failure of a remaining task is reported, and main's result stands", "[RUN-05]") {
  texts reported;
  auto const fails = [] {
    try {
      for_ever();
    } catch (cancelled_error const&) {
      throw std::runtime_error("no clean-up");
    }
  };
  auto const note = [&](std::string const& task, std::exception_ptr error) {
    reported.push_back(task + ": " + what_of([&] { std::rethrow_exception(error); }));
  };
  auto const result = fibers::run({.clock = clock_kind::virtual_time, .on_unhandled = note}, [&] {
    fibers::spawn("a", fails).detach();
    fibers::spawn("b", fails).detach();
    fibers::this_task::yield();
    return 5;
  });
  CHECK(result == 5);
  CHECK(reported == texts{"a: no clean-up", "b: no clean-up"});
}

TEST_CASE("run: if main and a remaining task fail, main's error is thrown", "[RUN-06]") {
  texts reported;
  fibers::task_handle<> left;
  auto const note = [&](std::string const& task, std::exception_ptr) { reported.push_back(task); };
  CHECK_THROWS_WITH(fibers::run({.clock = clock_kind::virtual_time, .on_unhandled = note},
                                [&] {
                                  left = fibers::spawn("left", [] {
                                           try {
                                             for_ever();
                                           } catch (cancelled_error const&) {
                                             throw std::runtime_error("left");
                                           }
                                         }).detach();
                                  fibers::this_task::yield();
                                  throw std::runtime_error("main");
                                }),
                    "main");
  CHECK(left.done());
  CHECK(what_of([&] { std::rethrow_exception(left.exception()); }) == "left");
  CHECK(reported.empty());  // a handle still existed, and fetched the error
}

TEST_CASE("run: tasks spawned at the end are cancelled and waited for, too", "[RUN-20]") {
  texts log;
  run_virtual([&] {
    fibers::spawn([&] {
      try {
        for_ever();
      } catch (cancelled_error const&) {
        fibers::spawn([&] {
          try {
            for_ever();
          } catch (cancelled_error const&) {
            fibers::sleep_for(1s);
            log.push_back("second");
          }
        }).detach();
        fibers::this_task::yield();
        log.push_back("first");
      }
    }).detach();
    fibers::this_task::yield();
  });
  CHECK(log == texts{"first", "second"});
}

TEST_CASE("run: callbacks of the tasks that end last are called", "[RUN-04]") {
  texts log;
  run_virtual([&] {
    fibers::this_task::handle().on_done([&] { log.push_back("main"); });
    auto left = fibers::spawn(for_ever);
    left.on_done([&] { log.push_back("left"); });
    fibers::this_task::yield();
    left.detach();
  });
  CHECK(log == texts{"main", "left"});
}

TEST_CASE("run: reports on stderr, at intervals, for which tasks its end waits and where") {
  auto const end = in_child([] {
    run_virtual([] {
      fibers::spawn("slow", [] {
        try {
          for_ever();
        } catch (cancelled_error const&) {
          fibers::sleep_for(35s);  // the reports come after 10 and after 30 seconds
        }
      }).detach();
      fibers::this_task::yield();
    });
  });
  CHECK(end.with(0));
  CHECK(count(end.text, "'slow' waits at run_end.cpp:") == 2);
  CHECK(count(end.text, "since 10 s") == 1);
  CHECK(count(end.text, "since 20 s") == 1);
}

TEST_CASE("run: reports nothing about an end that is quick enough, or if reports are disabled") {
  auto const after = GENERATE(fibers::duration(40s), fibers::duration(fibers::no_timeout));
  auto const end = in_child([after] {
    fibers::run({.clock = clock_kind::virtual_time, .shutdown_report_after = after}, [] {
      fibers::spawn("slow", [] {
        try {
          for_ever();
        } catch (cancelled_error const&) {
          fibers::sleep_for(35s);
        }
      }).detach();
      fibers::this_task::yield();
    });
  });
  CHECK(end.with(0));
  CHECK(end.text.empty());
}

TEST_CASE("run: its end cancels stubborn tasks again after each time limit, and reports it") {
  auto const end = in_child([] {
    int swallowed = 0;
    fibers::run({.clock = clock_kind::virtual_time, .cancel_again_after = 3s}, [&] {
      fibers::spawn("stubborn", [&] {
        while (swallowed < 3) {
          try {
            fibers::sleep_for(1h);
          } catch (cancelled_error const&) {
            ++swallowed;
          }
        }
      }).detach();
      fibers::this_task::yield();
    });
    if (swallowed != 3) throw std::runtime_error("it was cancelled a different number of times");
  });
  CHECK(end.with(0));
  CHECK(count(end.text, "since 3 s waits for tasks that were cancelled, which are cancelled again:") == 2);
  CHECK(count(end.text, "'stubborn' waits at run_end.cpp:") == 2);
}

TEST_CASE("run: repeated cancelling at the end does not hide a deadlock in virtual time") {
  auto const end = in_child([] {
    try {
      fibers::run({.clock = clock_kind::virtual_time, .cancel_again_after = 3s}, [] {
        fibers::spawn([] {
          for (;;) {
            try {
              for_ever();
            } catch (cancelled_error const&) {
            }
          }
        }).detach();
        fibers::this_task::yield();
      });
    } catch (fibers::deadlock_error const&) {
      return;
    }
    throw std::runtime_error("no deadlock was found");
  });
  CHECK(end.with(0));
}

// --- deadlock ---

TEST_CASE("run: in virtual time a deadlock is an error that names the tasks and their call sites") {
  unsigned line = 0;
  std::string text;
  try {
    run_virtual([&] {
      auto task = fibers::spawn("worker", for_ever);
      line = __LINE__ + 1;
      task.get();
    });
  } catch (fibers::deadlock_error const& error) {
    text = error.what();
  }
  CHECK_THAT(text, ContainsSubstring("'main' waits at run_end.cpp:" + std::to_string(line) + " "));
  CHECK_THAT(text, ContainsSubstring("'worker' waits at run_end.cpp:") && ContainsSubstring("for_ever"));
}

TEST_CASE("run: the text on a deadlock stays short, however many tasks wait") {
  auto const text = what_of([] {
    run_virtual([] {
      std::vector<fibers::task<void>> tasks;
      for (int i = 0; i < 99; ++i) tasks.push_back(fibers::spawn(for_ever));
      tasks.back().get();
    });
  });
  CHECK(count(text, "waits at") == 20);
  CHECK_THAT(text, ContainsSubstring("and 80 more"));
}

TEST_CASE("run: main can catch a deadlock, clean up and continue") {
  texts log;
  auto const result = run_virtual([&] {
    auto task = fibers::spawn(for_ever);
    try {
      task.get();
    } catch (fibers::deadlock_error const&) {
      log.push_back("caught");
    }
    task.cancel_and_wait();
    log.push_back(task.cancelled() ? "cancelled" : "?");
    fibers::sleep_for(1s);
    return 5;
  });
  CHECK(result == 5);
  CHECK(log == texts{"caught", "cancelled"});
}

TEST_CASE("run: after a deadlock that main does not catch everything is still cleaned up") {
  texts log;
  struct note {
    texts& log;
    char const* name;
    ~note() { log.push_back(name); }
  };
  CHECK_THROWS_AS(run_virtual([&] {
                    note const mine{log, "main"};
                    fibers::spawn([&] {
                      note const its{log, "left"};
                      for_ever();
                    }).detach();
                    for_ever();
                  }),
                  fibers::deadlock_error);
  CHECK(log == texts{"main", "left"});
}

TEST_CASE("run: a wait that a timer will end, however late, is no deadlock") {
  CHECK(run_virtual([] {
          auto task = fibers::spawn([] { fibers::sleep_for(1000h); });
          task.wait();
          return 5;
        }) == 5);
}

TEST_CASE("run: a task that swallows its cancellation at the end is cancelled three times, and then abandoned") {
  // In a child process: an abandoned task is never unwound, and so leaks.
  auto const end = in_child([] {
    int requests = 0;
    fibers::task_handle<> left;
    auto const text = what_of([&] {
      run_virtual([&] {
        left = fibers::spawn("stubborn", [&] { never_ends(requests); }).detach();
        fibers::this_task::yield();
      });
    });
    if (count(text, "'stubborn' waits at run_end.cpp:") != 1) ::_exit(1);
    if (requests != 3) ::_exit(2);
    if (!left.done() || what_of([&] { std::rethrow_exception(left.exception()); }) != text) ::_exit(3);
    if (fibers::run([] { return 5; }) != 5) ::_exit(4);
  });
  CHECK(end.with(0));
  CHECK(count(end.text, "stubborn") <= 3);
}

TEST_CASE("run: a main that waits in a destructor for an event that never comes is abandoned") {
  auto const end = in_child([] {
    int requests = 0;
    bool unwound = false;
    struct note {
      bool& unwound;
      ~note() { unwound = true; }
    };
    auto const text = what_of([&] {
      run_virtual([&] {
        note const mine{unwound};
        auto task = fibers::spawn("stubborn", [&] { never_ends(requests); });
        fibers::this_task::yield();
      });
    });
    if (count(text, "'main' waits at") != 1 || count(text, "'stubborn' waits at") != 1) ::_exit(1);
    if (requests != 1 || unwound) ::_exit(2);
    if (fibers::run([] { return 5; }) != 5) ::_exit(3);
  });
  CHECK(end.with(0));
}

TEST_CASE("run: an object for which an abandoned task waited may be used and destroyed later") {
  auto const end = in_child([] {
    auto outlives = std::make_unique<fibers::event>();
    auto unused = std::make_unique<fibers::event>();
    auto const text = what_of([&] {
      run_virtual([&] {
        auto other = fibers::spawn([&] { fibers::with_shield([&] { unused->wait(); }); });
        fibers::with_shield([&] { outlives->wait(); });
      });
    });
    if (count(text, "'main' waits at") != 1) ::_exit(1);
    outlives->set();
    outlives.reset();
    unused.reset();
  });
  CHECK(end.with(0));
  CHECK(end.text == "");
}

TEST_CASE("run: cancel_and_wait() distinguishes the task's cancellation from the caller's own", "[TRAP-25]") {
  texts log;
  run_virtual([&] {
    auto caller = fibers::spawn([&] {
      auto first = fibers::spawn(for_ever);
      fibers::this_task::yield();
      first.cancel_and_wait();  // throws nothing of the task's
      log.push_back(first.cancelled() ? "task cancelled" : "?");
      auto slow = fibers::spawn([] {
        try {
          for_ever();
        } catch (cancelled_error const&) {
          fibers::sleep_for(1h);
        }
      });
      fibers::this_task::yield();
      log.push_back(what_of([&] { slow.cancel_and_wait(); }));
    });
    fibers::sleep_for(1s);
    caller.cancel("caller");
    caller.wait();
  });
  CHECK(log == texts{"task cancelled", "cancelled: caller"});
}
