// SPDX-License-Identifier: BSL-1.0
#include <fibers/detail/cancel_state.hpp>

#include "catch.hpp"

using fibers::cancelled_error;
using fibers::detail::cancel_frame;
using fibers::detail::cancel_state;
using fibers::detail::request_stage;

namespace {
void request(cancel_state& state, char const* message = "") {
  state.request(state.outermost(), cancelled_error(message));
}
}  // namespace

TEST_CASE("cancel_state: begins with nothing") {
  cancel_state state;
  CHECK_FALSE(state.deliverable());
  CHECK(state.count() == 0);
  CHECK(state.level() == 0);
  CHECK(state.uncancel() == 0);
  CHECK(&state.innermost() == &state.outermost());
}

TEST_CASE("cancel_state: a request is thrown once, and stays counted") {
  cancel_state state;
  request(state, "stop");
  CHECK(state.deliverable());
  CHECK(state.count() == 1);
  CHECK(state.deliver().message() == "stop");
  CHECK_FALSE(state.deliverable());
  CHECK(state.count() == 1);
}

TEST_CASE("cancel_state: requests that meet one that is pending are thrown with it, as the last of them", "[TASK-29]") {
  cancel_state state;
  request(state, "a");
  request(state, "b");
  CHECK(state.count() == 2);
  CHECK(state.deliver().message() == "b");
  CHECK_FALSE(state.deliverable());
}

TEST_CASE("cancel_state: requests that meet one that is taken are thrown with it, as the first", "[TASK-29]") {
  cancel_state state;
  request(state, "a");
  state.take();
  CHECK_FALSE(state.deliverable());
  request(state, "b");
  CHECK(state.count() == 2);
  CHECK_FALSE(state.deliverable());
  CHECK(state.deliver().message() == "a");
  CHECK_FALSE(state.deliverable());
}

TEST_CASE("cancel_state: after one was thrown the next is thrown again") {
  cancel_state state;
  request(state, "a");
  state.deliver();
  request(state, "b");
  CHECK(state.deliver().message() == "b");
  CHECK(state.count() == 2);
}

TEST_CASE("cancel_state: uncancel to 0 drops what is pending, not before and not below 0") {
  cancel_state state;
  request(state);
  request(state);
  CHECK(state.uncancel() == 1);
  CHECK(state.deliverable());
  CHECK(state.uncancel() == 0);
  CHECK_FALSE(state.deliverable());
  CHECK(state.uncancel() == 0);
  request(state, "again");
  CHECK(state.deliver().message() == "again");
}

TEST_CASE("cancel_state: uncancel does not take back what a withdrawn wait will throw") {
  cancel_state state;
  request(state, "a");
  state.take();
  CHECK(state.uncancel() == 0);
  CHECK(state.innermost().stage == request_stage::taken);
  CHECK(state.deliver().message() == "a");
}

TEST_CASE("cancel_state: the level of a scope that is entered counts what was thrown, not what is pending") {
  cancel_state state;
  request(state);
  CHECK(state.level() == 0);
  state.deliver();
  CHECK(state.level() == 1);
  request(state);
  CHECK(state.level() == 1);
  state.deliver();
  CHECK(state.level() == 2);
  state.uncancel();
  CHECK(state.level() == 1);
}

TEST_CASE("cancel_state: a request that was counted can be made pending again, but replaces none") {
  cancel_state state;
  state.rearm(cancelled_error("back"));
  CHECK(state.deliverable());
  CHECK(state.count() == 0);
  state.rearm(cancelled_error("other"));
  CHECK(state.deliver().message() == "back");
}

TEST_CASE("cancel_state: a shield holds requests from outside back until it is gone") {
  cancel_state state;
  cancel_frame shield;
  state.open(shield);
  request(state, "outside");
  CHECK_FALSE(state.deliverable());
  CHECK(state.count() == 1);
  state.close(shield);
  CHECK(state.deliverable());
  CHECK(state.deliver().message() == "outside");
}

TEST_CASE("cancel_state: what was pending before a shield waits behind it, too") {
  cancel_state state;
  request(state, "before");
  cancel_frame shield;
  state.open(shield);
  CHECK_FALSE(state.deliverable());
  state.close(shield);
  CHECK(state.deliver().message() == "before");
}

TEST_CASE("cancel_state: a scope inside a shield is served at once, and sees nothing of what waits outside") {
  cancel_state state;
  cancel_frame shield;
  state.open(shield);
  request(state, "outside");
  CHECK(state.level() == 0);
  state.request(shield, cancelled_error("deadline"));
  CHECK(state.deliverable());
  CHECK(state.count() == 2);
  CHECK(state.deliver().message() == "deadline");
  CHECK(state.level() == 1);
  CHECK(state.uncancel(shield) == 0);
  state.close(shield);
  CHECK(state.count() == 1);
  CHECK(state.deliver().message() == "outside");
}

TEST_CASE("cancel_state: a shield that closes takes back what was asked for inside it") {
  cancel_state state;
  cancel_frame shield;
  state.open(shield);
  state.request(shield, cancelled_error("inside"));
  state.close(shield);
  CHECK(state.count() == 0);
  CHECK_FALSE(state.deliverable());
}

TEST_CASE("cancel_state: shields nest, and only the innermost frame is served") {
  cancel_state state;
  cancel_frame outer, inner;
  state.open(outer);
  state.open(inner);
  state.request(outer, cancelled_error("a scope between them"));
  request(state, "outside");
  CHECK_FALSE(state.deliverable());
  state.close(inner);
  CHECK(state.deliver().message() == "a scope between them");
  state.uncancel(outer);
  state.close(outer);
  CHECK(state.deliver().message() == "outside");
  CHECK(state.count() == 1);
}

TEST_CASE("cancel_state: uncancel without a frame takes the innermost that has a count") {
  cancel_state state;
  request(state, "outside");
  cancel_frame shield;
  state.open(shield);
  state.request(shield, cancelled_error("inside"));
  CHECK(state.uncancel() == 1);
  CHECK(shield.count == 0);
  CHECK_FALSE(state.deliverable());
  CHECK(state.uncancel() == 0);
  state.close(shield);
  CHECK_FALSE(state.deliverable());
}
