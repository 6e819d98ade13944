// SPDX-License-Identifier: BSL-1.0

// Exceptions in tasks that suspend: each task has its own handled exceptions and its own exceptions in flight. While
// one unwinds a stack, no cancellation request is thrown there.

#include <exception>
#include <fibers/this_task.hpp>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::how;
using fibers::testing::record;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

// "handles a, 1 in flight"
std::string exceptions() {
  auto const handled = std::current_exception();
  return "handles " + (handled == nullptr ? "none" : how([&] { std::rethrow_exception(handled); }).substr(8)) + ", " +
         std::to_string(std::uncaught_exceptions()) + " in flight";
}

// Calls its callable in the destructor.
template <class F>
struct at_exit {
  F function;
  ~at_exit() { function(); }
};
template <class F>
at_exit(F) -> at_exit<F>;

}  // namespace

// --- handlers ---

TEST_CASE_METHOD(virtual_time, "handlers: `throw;` after a suspension rethrows what that task caught, in either order",
                 "[TASK-13]") {
  bool const first_leaves_first = GENERATE(true, false);
  auto const rethrow_after = [](char const* what, fibers::duration time) {
    return [what, time] {
      try {
        throw std::runtime_error(what);
      } catch (std::runtime_error const&) {
        sleep_for(time);
        throw;
      }
    };
  };
  run([&] {
    auto first = spawn(rethrow_after("a", first_leaves_first ? 1s : 2s));
    auto second = spawn(rethrow_after("b", first_leaves_first ? 2s : 1s));
    seen(how([&] { first.get(); }));
    seen(how([&] { second.get(); }));
  });
  CHECK(seen == (first_leaves_first ? "failed: a@1, failed: b@2" : "failed: a@2, failed: b@2"));
}

TEST_CASE_METHOD(virtual_time, "handlers: a task that begins while another handles an exception sees none") {
  run([&] {
    try {
      throw std::runtime_error("a");
    } catch (std::runtime_error const&) {
      auto const child = spawn([&] {
        seen("child " + exceptions());
        seen(how([] {
          try {
            throw std::runtime_error("b");
          } catch (std::runtime_error const&) {
            this_task::yield();
            throw;
          }
        }));
        seen("child " + exceptions());
      });
      this_task::yield();
      seen("main " + exceptions());
      child.wait();
      seen("main " + exceptions());
    }
    seen("main " + exceptions());
  });
  CHECK(seen ==
        "child handles none, 0 in flight@0, main handles a, 0 in flight@0, failed: b@0, child handles none, 0 in "
        "flight@0, main handles a, 0 in flight@0, main handles none, 0 in flight@0");
}

TEST_CASE_METHOD(virtual_time, "handlers: nested handlers of two tasks do not mix") {
  auto const nest = [this](std::string const& name) {
    return [this, name] {
      try {
        throw std::runtime_error(name + "1");
      } catch (...) {
        this_task::yield();
        try {
          throw std::runtime_error(name + "2");
        } catch (...) {
          this_task::yield();
          seen(exceptions());
        }
        this_task::yield();
        seen(exceptions());
        throw;
      }
    };
  };
  run([&] {
    auto first = spawn(nest("a"));
    auto second = spawn(nest("b"));
    seen(how([&] { first.get(); }));
    seen(how([&] { second.get(); }));
  });
  CHECK(seen ==
        "handles a2, 0 in flight@0, handles b2, 0 in flight@0, handles a1, 0 in flight@0, handles b1, 0 in flight@0, "
        "failed: a1@0, failed: b1@0");
}

TEST_CASE_METHOD(virtual_time, "handlers: a handler that waits for a failing task nests what it caught", "[TASK-13]") {
  run([&] {
    try {
      try {
        throw std::runtime_error("a");
      } catch (std::runtime_error const&) {
        try {
          spawn([] { throw std::logic_error("b"); }).get();
        } catch (std::logic_error const& error) {
          seen(error.what());
        }
        std::throw_with_nested(std::runtime_error("c"));
      }
    } catch (std::runtime_error const& error) {
      seen(error.what());
      seen(how([&] { std::rethrow_if_nested(error); }));
    }
  });
  CHECK(seen == "b@0, c@0, failed: a@0");
}

TEST_CASE_METHOD(virtual_time, "handlers: several tasks may handle one exception at once, and it lives as long") {
  run([&] {
    auto failing = spawn([text = std::string(100, 'x')] { throw std::runtime_error(text); });
    std::vector<fibers::task<void>> waiting;
    for (int i = 0; i != 3; ++i) {
      waiting.push_back(spawn([&, i, handle = failing.handle()] {
        try {
          handle.get();
        } catch (std::runtime_error const& error) {
          sleep_for(std::chrono::seconds(3 - i));
          seen(std::string(error.what()).substr(98) + std::to_string(i));
          throw;
        }
      }));
    }
    failing.detach();
    for (auto& task : waiting) seen(how([&] { task.get(); }).substr(0, 9));
  });
  CHECK(seen == "xx2@1, xx1@2, xx0@3, failed: x@3, failed: x@3, failed: x@3");
}

TEST_CASE_METHOD(virtual_time, "handlers: a request is thrown in a handler, since a handler is not unwinding") {
  run([&] {
    auto const child = spawn([&] {
      try {
        throw std::runtime_error("a");
      } catch (std::runtime_error const&) {
        seen(how([] { sleep_for(9s); }));
        seen(exceptions());
      }
    });
    sleep_for(1s);
    child.cancel("now");
    child.wait();
  });
  CHECK(seen == "cancelled: now@1, handles a, 0 in flight@1");
}

// --- unwinding ---

TEST_CASE_METHOD(virtual_time, "unwinding: exceptions in flight are counted for each task") {
  auto const unwind = [this](char const* name, fibers::duration time) {
    return [this, name, time] {
      try {
        at_exit const waits{[&] {
          seen(name + (" " + std::to_string(std::uncaught_exceptions())));
          sleep_for(time);
          seen(name + (" " + std::to_string(std::uncaught_exceptions())));
        }};
        throw std::runtime_error(name);
      } catch (std::runtime_error const& error) {
        seen(std::string(error.what()) + " caught " + std::to_string(std::uncaught_exceptions()));
      }
    };
  };
  run([&] {
    auto const first = spawn(unwind("a", 2s));
    auto const second = spawn(unwind("b", 1s));
    sleep_for(500ms);
    seen("main " + std::to_string(std::uncaught_exceptions()));
    first.wait();
    second.wait();
  });
  CHECK(seen == "a 1@0, b 1@0, main 0@0.5, b 1@1, b caught 0@1, a 1@2, a caught 0@2");
}

TEST_CASE_METHOD(virtual_time,
                 "unwinding: a request that was pending before stays pending, whatever the destructor calls") {
  run([&] {
    auto const child = spawn([&] {
      auto const ended = spawn([] {});
      auto const other = spawn([] { sleep_for(1s); });
      ended.wait();
      try {
        at_exit const suspends{[&] {
          auto const before = std::uncaught_exceptions();
          seen(how([] { this_task::yield(); }));
          seen(how([] { this_task::checkpoint(); }));
          seen(how([&] { ended.wait(); }));
          seen(how([&] { other.handle().get(); }));
          seen(how([] { sleep_for(1s); }));
          seen(before == 1 && std::uncaught_exceptions() == 1 ? "1 in flight" : "wrong");
        }};
        this_task::cancel("later");
        throw std::runtime_error("no");
      } catch (std::runtime_error const&) {
        seen(std::to_string(this_task::cancelling()) + " pending");
        seen(how([] { this_task::checkpoint(); }));
      }
    });
    child.wait();
  });
  CHECK(seen ==
        "returned@0, returned@0, returned@0, returned@1, returned@2, 1 in flight@2, 1 pending@2, cancelled: later@2");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a request that arrives while a destructor sleeps does not interrupt it") {
  run([&] {
    auto child = spawn([&] {
      try {
        at_exit const sleeps{[&] {
          auto const before = std::uncaught_exceptions();
          sleep_for(2s);
          seen(before == std::uncaught_exceptions() ? "same" : "changed");
        }};
        throw std::runtime_error("no");
      } catch (std::runtime_error const&) {
        seen(how([] { sleep_for(9s); }));
      }
    });
    sleep_for(1s);
    seen(child.cancel("during") ? "accepted" : "too late");
    child.wait();
  });
  CHECK(seen == "accepted@1, same@2, cancelled: during@2");
}

TEST_CASE_METHOD(virtual_time,
                 "unwinding: a destructor in get() does not forward a request to the task for which it waits") {
  run([&] {
    auto const inner = spawn([] { sleep_for(2s); });
    auto const child = spawn([&] {
      try {
        at_exit const gets{[&] { seen(how([&] { inner.handle().get(); })); }};
        throw std::runtime_error("no");
      } catch (std::runtime_error const&) {
        seen(how([] { this_task::checkpoint(); }));
      }
    });
    sleep_for(1s);
    child.cancel("during");
    child.wait();
    seen(std::to_string(inner.cancelling()));
  });
  CHECK(seen == "returned@2, cancelled: during@2, 0@2");
}

TEST_CASE_METHOD(virtual_time, "unwinding: the same holds while a cancelled_error unwinds") {
  run([&] {
    auto child = spawn([&] {
      at_exit const sleeps{[&] {
        seen(how([] { sleep_for(2s); }));
        seen(std::to_string(std::uncaught_exceptions()));
      }};
      sleep_for(9s);
    });
    sleep_for(1s);
    child.cancel("first");
    sleep_for(1s);
    child.cancel("second");
    seen(how([&] { child.get(); }));
    seen(std::to_string(child.cancelling()));
  });
  CHECK(seen == "returned@3, 1@3, cancelled: first@3, 2@3");
}

TEST_CASE_METHOD(virtual_time,
                 "unwinding: a task that ends with a pending request ends with the exception that unwound it") {
  run([&] {
    auto child = spawn([&] {
      at_exit const sleeps{[] { sleep_for(2s); }};
      throw std::runtime_error("no");
    });
    sleep_for(1s);
    child.cancel();
    seen(how([&] { child.get(); }));
  });
  CHECK(seen == "failed: no@2");
}

TEST_CASE_METHOD(virtual_time, "unwinding: a task that a destructor spawns can be cancelled as usual") {
  run([&] {
    auto const parent = spawn([&] {
      try {
        at_exit const spawns{[&] {
          auto child = spawn([&] {
            seen("child " + exceptions());
            sleep_for(9s);
          });
          sleep_for(1s);
          child.cancel("by the destructor");
          seen(how([&] { child.get(); }));
          seen(std::to_string(std::uncaught_exceptions()));
        }};
        throw std::runtime_error("no");
      } catch (std::runtime_error const& error) {
        seen(error.what());
      }
    });
    parent.wait();
  });
  CHECK(seen == "child handles none, 0 in flight@0, cancelled: by the destructor@1, 1@1, no@1");
}

TEST_CASE_METHOD(virtual_time,
                 "unwinding: nested unwinding works, in a destructor that throws and catches while it suspends") {
  run([&] {
    auto const child = spawn([&] {
      try {
        at_exit const outer{[&] {
          try {
            at_exit const inner{[&] {
              this_task::yield();
              seen(std::to_string(std::uncaught_exceptions()));
            }};
            throw std::runtime_error("b");
          } catch (std::runtime_error const& error) {
            this_task::yield();
            seen(error.what() + (" " + std::to_string(std::uncaught_exceptions())));
          }
        }};
        throw std::runtime_error("a");
      } catch (std::runtime_error const& error) {
        this_task::yield();
        seen(error.what() + (" " + std::to_string(std::uncaught_exceptions())));
      }
    });
    child.wait();
  });
  CHECK(seen == "2@0, b 1@0, a 0@0");
}
