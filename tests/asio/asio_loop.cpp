// SPDX-License-Identifier: BSL-1.0

// A loop that sleeps in an io_context, as a part of its process: when it wakes up, what it does after a fork, and
// during the destruction of static objects.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fibers/event.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <string>
#include <thread>

#include "child.hpp"
#include "network.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using fibers::event;
using fibers::sleep_for;
using fibers::use_fiber;
using fork_event = asio::execution_context::fork_event;

// --- time ---

TEST_CASE_METHOD(network, "asio: a deadline is not rounded to milliseconds") {
  auto lateness = fibers::duration::max();  // the minimum of many, since other processes use the processor, too
  run([&] {
    fibers::io_context();
    for (int i = 0; i < 200; ++i) {
      auto const begin = std::chrono::steady_clock::now();
      sleep_for(100us);
      lateness = std::min(lateness, std::chrono::steady_clock::now() - begin - 100us);
    }
  });
  CHECK(lateness >= 0us);
  CHECK(lateness < 500us);
}

TEST_CASE_METHOD(network, "asio: an idle loop sleeps until its deadline without waking up") {
  long fewest = 1000;
  for (int attempt = 0; attempt < 3 && fewest > 1; ++attempt) {  // the system may wait for an event of its own
    run([&] {
      fibers::io_context();
      fibers::this_task::yield();
      rusage before{}, after{};
      ::getrusage(RUSAGE_THREAD, &before);
      sleep_for(1200ms);
      ::getrusage(RUSAGE_THREAD, &after);
      fewest = std::min(fewest, after.ru_nvcsw - before.ru_nvcsw);
    });
  }
  CHECK(fewest == 1);
}

TEST_CASE_METHOD(network, "asio: no deadline is lost when an earlier one is withdrawn and later ones were set before") {
  std::string order;
  std::chrono::steady_clock::time_point begin;
  run([&] {
    fibers::io_context();
    begin = std::chrono::steady_clock::now();
    auto const ends_after = [&](fibers::duration length) {
      return fibers::spawn([&order, begin, length] {
        fibers::sleep_until(begin + length);
        bool const early = std::chrono::steady_clock::now() - begin < length;
        order += std::to_string(length / 1ms) + (early ? " early " : " ");
      });
    };
    auto last = ends_after(300ms);
    fibers::this_task::yield();
    auto withdrawn = ends_after(1ms);
    fibers::this_task::yield();
    auto first = ends_after(2ms);
    fibers::this_task::yield();
    withdrawn.cancel_and_wait();
    first.wait();
    ends_after(3ms).wait();
    last.wait();
  });
  CHECK(order == "2 3 300 ");
}

// --- fork ---

namespace {

// Waits repeatedly to be woken by its own threads and deadlines only.
void wake_up_often() {
  fibers::with_timeout(20s, [] {
    for (int i = 0; i < 100; ++i) {
      event woken;
      std::thread other([&] {
        std::this_thread::sleep_for(20us);
        woken.set();
      });
      woken.wait();
      other.join();
      sleep_for(20us);
    }
  });
}

pid_t fork_with(asio::io_context& context) {
  context.notify_fork(fork_event::fork_prepare);
  auto const child = ::fork();
  context.notify_fork(child == 0 ? fork_event::fork_child : fork_event::fork_parent);
  return child;
}

}  // namespace

TEST_CASE_METHOD(network, "asio: after a fork parent and child are each woken by their own sources") {
  bool const own_context = GENERATE(true, false);
  int status = -1;
  std::string parent;
  asio::io_context users(1);
  auto const main = [&] {
    auto& context = fibers::io_context();
    auto before = fibers::spawn([] { sleep_for(20ms); });  // a deadline of both processes
    fibers::this_task::yield();
    sleep_for(1ms);
    auto const child = fork_with(context);
    auto const result = how([&] {
      wake_up_often();
      before.get();
    });
    if (child == 0) ::_exit(result == "returned" ? 0 : 1);
    parent = result;
    ::waitpid(child, &status, 0);
  };
  own_context ? run(main) : fibers::run_on(users, options(), main);
  CHECK(parent == "returned");
  CHECK(status == 0);
}

TEST_CASE_METHOD(network, "asio: a loop that has ended leaves nothing in the user's io_context for a fork to find") {
  asio::io_context context(1);
  fibers::run_on(context, options(), [] { fibers::this_task::yield(); });
  auto const child = fork_with(context);
  if (child == 0) {
    auto const result = how([&] { fibers::run_on(context, [] { wake_up_often(); }); });
    ::_exit(result == "returned" ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("loop: without an io_context a fork needs no notification") {
  int status = -1;
  fibers::run([&] {
    auto const child = ::fork();
    auto const result = how(wake_up_often);
    if (child == 0) ::_exit(result == "returned" ? 0 : 1);
    CHECK(result == "returned");
    ::waitpid(child, &status, 0);
  });
  CHECK(status == 0);
}

// --- the end of the process ---

namespace {

// Starts many operations at once, and cancels some of them.
struct flusher {
  ~flusher() {
    fibers::run([] {
      fibers::with_task_group([](fibers::task_group& group) {
        for (int i = 0; i < 8; ++i) {
          group.spawn([i] {
            asio::steady_timer timer(fibers::io_context(), i % 2 == 0 ? 1ms : 1h);
            fibers::move_on_after(2ms, [&] { timer.async_wait(use_fiber); });
          });
        }
      });
    });
    auto const unknown = fibers::cancelled_error();
    std::fprintf(stderr, "flushed%s%s", unknown.message().c_str(), unknown.origin().task.c_str());
  }
};

}  // namespace

TEST_CASE("asio: static and thread_local objects may run loops in their destructors") {
  auto const end = in_child([] {
    static flusher const at_exit;
    static thread_local flusher const at_thread_exit;
    [[maybe_unused]] auto const* const used = &at_thread_exit;
    { flusher const in_between; }
    ::close(STDOUT_FILENO);  // the child must not write the parent's buffered output
    std::exit(7);
  });
  CHECK(end.text == "flushedflushedflushed");
  CHECK(end.with(7));
}
