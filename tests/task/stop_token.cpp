// SPDX-License-Identifier: BSL-1.0

// this_task::stop_token(): a token belongs to the scope in which it was taken.

#include <fibers/fibers.hpp>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::sleep_for;
using fibers::spawn;
using fibers::testing::counted;
using fibers::testing::how;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

namespace {

std::string state() { return this_task::stop_token().stop_requested() ? "stop" : "go on"; }

}  // namespace

TEST_CASE_METHOD(virtual_time, "stop_token: is stopped at the first request, on the requesting thread") {
  run([&] {
    auto const child = spawn([&] {
      auto const token = this_task::stop_token();
      std::stop_callback const callback(token, [&] { seen("callback in " + this_task::name()); });
      seen(token.stop_requested() ? "stop" : "go on");
      seen(how([] { sleep_for(9s); }));
      seen(token.stop_requested() && this_task::stop_token().stop_requested() ? "stop" : "go on");
    });
    sleep_for(1s);
    child.cancel();
    child.cancel();  // no second call
    seen("main");
    child.wait();
  });
  CHECK(seen == "go on@0, callback in main@1, main@1, cancelled@1, stop@1");
}

TEST_CASE_METHOD(virtual_time, "stop_token: a token taken after the request is stopped") {
  run([&] {
    auto const child = spawn([&] {
      this_task::cancel();
      seen(this_task::stop_token().stop_requested() ? "stop" : "go on");
    });
    child.wait();
  });
  CHECK(seen == "stop@0");
}

TEST_CASE_METHOD(virtual_time, "stop_token: outlives its task, and is not stopped by an ordinary end") {
  std::stop_token token;
  run([&] {
    auto const child = spawn([&] { token = this_task::stop_token(); });
    child.wait();
    child.cancel();
  });
  CHECK_FALSE(token.stop_requested());
}

TEST_CASE("stop_token: serves a thread that works for the task") {
  bool stopped = false;
  fibers::run([&] {
    auto const child = spawn([&] {
      std::thread worker([&, token = this_task::stop_token()] {
        while (!token.stop_requested()) std::this_thread::yield();
        stopped = true;
      });
      try {
        sleep_for(fibers::no_timeout);
      } catch (cancelled_error const&) {
        worker.join();
      }
    });
    this_task::yield();
    child.cancel_and_wait();
  });
  CHECK(stopped);
}

TEST_CASE_METHOD(virtual_time, "stop_token: a scope that ended by its own request stops no token around it") {
  run([&] {
    auto const around = this_task::stop_token();
    std::stop_token inside;
    fibers::move_on_after(10ms, [&] {
      inside = this_task::stop_token();
      sleep_for(1s);
    });
    seen(inside.stop_requested() ? "limit" : "");
    fibers::with_task_group([&](fibers::task_group& group) {
      inside = this_task::stop_token();
      group.stop();
    });
    seen(inside.stop_requested() ? "stop()" : "");
    fibers::race([] { sleep_for(1ms); }, [] { sleep_for(1h); });
    how([] { fibers::gather([] { throw std::runtime_error("no"); }, [] { sleep_for(1h); }); });
    seen(around.stop_requested() ? "around" : "none around");
    seen(state());
  });
  CHECK(seen == "limit@0.01, stop()@0.01, none around@0.011, go on@0.011");
}

TEST_CASE_METHOD(virtual_time, "stop_token: requests from outside stop it where they can be delivered") {
  run([&] {
    auto const child = spawn([&] {
      auto const outside = this_task::stop_token();
      std::stop_token shielded, limited;
      fibers::with_shield([&] {
        shielded = this_task::stop_token();
        sleep_for(2s);
        seen(state());
        seen(outside.stop_requested() ? "stop" : "go on");
      });
      seen(outside.stop_requested() ? "stop" : "go on");
      seen(shielded.stop_requested() ? "stop" : "go on");
      seen(how([&] {
        fibers::with_timeout(1h, [&] {
          limited = this_task::stop_token();
          sleep_for(1s);
        });
      }));
      seen(limited.stop_requested() ? "stop" : "go on");
      fibers::with_shield([&] { seen(state()); });  // in clean-up
      fibers::move_on_after(1h, [&] { seen(state()); });
      seen(state());
    });
    sleep_for(1s);
    child.cancel();
    child.wait();
  });
  CHECK(seen == "go on@2, go on@2, stop@2, go on@2, cancelled@2, stop@2, go on@2, go on@2, stop@2");
}

TEST_CASE_METHOD(virtual_time, "stop_token: a token taken in a scope outlives it, and is not stopped then") {
  std::stop_token token;
  run([&] {
    auto const child = spawn([&] {
      fibers::move_on_after(1h, [&] { token = this_task::stop_token(); });
      sleep_for(1h);
    });
    sleep_for(1s);
    child.cancel_and_wait();
  });
  CHECK_FALSE(token.stop_requested());
}
