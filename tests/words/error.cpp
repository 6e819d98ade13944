// SPDX-License-Identifier: BSL-1.0
#include <csignal>
#include <exception>
#include <fibers/error.hpp>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "catch.hpp"

using fibers::cancel_origin;
using fibers::cancelled_error;

namespace {

template <class E>
bool caught_as_std_exception(E const& error) {
  try {
    throw error;
  } catch (std::exception const&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::string text(std::string message, cancel_origin origin) {
  return cancelled_error(std::move(message), std::move(origin)).what();
}

}  // namespace

TEST_CASE("error: a handler for failures does not catch a cancellation") {
  CHECK_FALSE(caught_as_std_exception(cancelled_error("stop")));
  CHECK(caught_as_std_exception(fibers::timeout_error()));
  CHECK(caught_as_std_exception(fibers::interrupted_error(SIGINT)));
  CHECK(caught_as_std_exception(fibers::invalid_state_error("x")));
  CHECK(caught_as_std_exception(fibers::deadlock_error("x")));
  CHECK(caught_as_std_exception(fibers::queue_full()));
  CHECK(caught_as_std_exception(fibers::queue_empty()));
  CHECK(caught_as_std_exception(fibers::queue_shut_down()));
  CHECK(caught_as_std_exception(fibers::broken_barrier_error()));
}

TEST_CASE("error: copying a cancelled_error cannot fail and keeps its contents") {
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<cancelled_error>);
  STATIC_REQUIRE(std::is_nothrow_copy_assignable_v<cancelled_error>);
  STATIC_REQUIRE(std::is_nothrow_default_constructible_v<cancelled_error>);
  cancelled_error copy;
  {
    cancelled_error const original("too slow", {.via = cancel_origin::kind::race, .task = "main"});
    copy = original;
  }
  CHECK(copy.message() == "too slow");
  CHECK(copy.origin().task == "main");
  CHECK(copy.origin().via == cancel_origin::kind::race);
  CHECK(copy.what() == std::string("cancelled: too slow (race, by task 'main')"));
}

TEST_CASE("error: a default cancelled_error has an empty message and an unknown origin") {
  cancelled_error const error;
  CHECK(error.message().empty());
  CHECK(error.origin().task.empty());
  CHECK(error.origin().place.line() == 0);
  CHECK(error.origin().via == cancel_origin::kind::by_hand);
  CHECK(error.what() == std::string("cancelled"));
  cancelled_error moved_to("a");
  cancelled_error const stolen(std::move(moved_to));
  CHECK(stolen.message() == "a");
}

TEST_CASE("error: what() contains the message, the timeout or group, the requesting task and the call site") {
  boost::source_location const place("/home/me/server.cpp", 31, "void f()");
  CHECK(text("too slow", {}) == "cancelled: too slow");
  CHECK(text("", {.place = place}) == "cancelled (at server.cpp:31)");
  CHECK(text("too slow", {.task = "main", .place = place}) == "cancelled: too slow (by task 'main' at server.cpp:31)");
  CHECK(text("", {.via = cancel_origin::kind::timeout}) == "cancelled (timeout)");
  CHECK(text("", {.via = cancel_origin::kind::task_group, .task = "a"}) == "cancelled (task group, by task 'a')");
  CHECK(text("", {.via = cancel_origin::kind::gather}) == "cancelled (gather)");
  CHECK(text("", {.via = cancel_origin::kind::owner}) == "cancelled (its task<> was destroyed)");
  CHECK(text("", {.via = cancel_origin::kind::shutdown}) == "cancelled (run() is over)");
  CHECK(text("", {.via = cancel_origin::kind::signal}) == "cancelled (signal)");
}

TEST_CASE("error: several threads may call what() of copies of one cancelled_error at once") {
  cancelled_error const error("x", {.task = "main"});
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (auto& text : texts) threads.emplace_back([&text, error] { text = error.what(); });
  for (auto& thread : threads) thread.join();
  CHECK(texts == std::vector<std::string>(4, "cancelled: x (by task 'main')"));
}

TEST_CASE("error: interrupted_error contains the signal, by number and by name") {
  fibers::interrupted_error const error(SIGTERM);
  CHECK(error.signal() == SIGTERM);
  CHECK(error.what() == std::string("interrupted by Terminated"));
}

TEST_CASE("error: a call site is shown as file and line, without the folders") {
  using fibers::detail::to_string;
  CHECK(to_string(boost::source_location("/a/b/c.cpp", 12, "f")) == "c.cpp:12");
  CHECK(to_string(boost::source_location("c.cpp", 1, "f")) == "c.cpp:1");
}
