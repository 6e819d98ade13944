// SPDX-License-Identifier: BSL-1.0
#include <fibers/detail/engine/cancel_state.hpp>

#include "catch.hpp"

using fibers::cancelled_error;
using fibers::detail::cancel_frame;
using fibers::detail::cancel_scope;
using fibers::detail::cancel_state;

namespace {

void request(cancel_state& state, char const* message = "") { state.post(state.outermost(), cancelled_error(message)); }

// The level of a scope that is entered now.
unsigned level(cancel_state& state) {
  cancel_scope scope;
  state.enter(scope, 0);
  CHECK(state.leave_quietly(scope));
  return scope.level;
}

}  // namespace

TEST_CASE("cancel_state: begins empty") {
  cancel_state state;
  CHECK_FALSE(state.deliverable());
  CHECK(state.count() == 0);
  CHECK(level(state) == 0);
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

TEST_CASE("cancel_state: requests that meet a pending one are thrown with it, as the last of them", "[TASK-29]") {
  cancel_state state;
  request(state, "a");
  request(state, "b");
  CHECK(state.count() == 2);
  CHECK(state.deliver().message() == "b");
  CHECK_FALSE(state.deliverable());
}

TEST_CASE("cancel_state: requests that meet a reserved one are delivered with it, as the first", "[TASK-29]") {
  cancel_state state;
  request(state, "a");
  state.reserve();
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

TEST_CASE("cancel_state: uncancel to 0 drops the pending request, not before and not below 0") {
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

TEST_CASE("cancel_state: uncancel does not withdraw what a withdrawn wait will throw") {
  cancel_state state;
  request(state, "a");
  state.reserve();
  CHECK(state.uncancel() == 0);
  CHECK(state.innermost().reserved);
  CHECK(state.deliver().message() == "a");
}

TEST_CASE("cancel_state: the level of an entered scope counts thrown requests, not pending ones") {
  cancel_state state;
  request(state);
  CHECK(level(state) == 0);
  state.deliver();
  CHECK(level(state) == 1);
  request(state);
  CHECK(level(state) == 1);
  state.deliver();
  CHECK(level(state) == 2);
  state.uncancel();
  CHECK(level(state) == 1);
}

TEST_CASE("cancel_state: a delivered request can be made pending again, for the scopes that still exist") {
  cancel_state state;
  auto const before = state.deliveries();
  state.restore(before);
  CHECK_FALSE(state.deliverable());  // nothing was delivered
  request(state, "stop");
  state.deliver();
  state.restore(before);
  CHECK(state.deliverable());
  CHECK(state.count() == 1);
  CHECK(state.deliver().message() == "stop");
  state.restore(state.deliveries());
  CHECK_FALSE(state.deliverable());  // nothing was delivered since

  state.restore(before, cancel_state::message::forget);
  CHECK(state.deliver().message().empty());
}

TEST_CASE("cancel_state: a scope that is left withdraws its own request, pending or delivered, and no other") {
  bool const delivered = GENERATE(false, true);
  bool const swallowed_before = GENERATE(false, true);
  CAPTURE(delivered, swallowed_before);
  cancel_state state;
  if (swallowed_before) request(state), state.deliver();
  cancel_scope scope;
  state.enter(scope, 0);
  state.post(scope, cancelled_error("own"));
  if (delivered) CHECK(state.deliver().message() == "own");
  CHECK(state.leave(scope));
  CHECK_FALSE(state.deliverable());
  CHECK(state.count() == (swallowed_before ? 1 : 0));
}

TEST_CASE("cancel_state: of a scope's request and one from outside, the latter is thrown, and stays") {
  bool const own_first = GENERATE(false, true);
  CAPTURE(own_first);
  cancel_state state;
  cancel_scope scope;
  state.enter(scope, 0);
  if (own_first) state.post(scope, cancelled_error("own"));
  request(state, "outside");
  if (!own_first) state.post(scope, cancelled_error("own"));
  SECTION("delivered together") { CHECK(state.deliver().message() == "outside"); }
  SECTION("not delivered before the scope is left") {
    CHECK_FALSE(state.leave(scope));
    CHECK(state.deliver().message() == "outside");
  }
  CHECK(state.count() >= 1);
}

TEST_CASE("cancel_state: a restored delivery is dropped with its scope") {
  cancel_state state;
  request(state);
  state.deliver();  // was swallowed long ago
  cancel_scope scope;
  state.enter(scope, 0);
  auto const before = state.deliveries();
  state.post(scope, cancelled_error("own"));
  state.deliver();
  state.restore(before);
  CHECK(state.deliverable());
  CHECK(state.leave(scope));
  CHECK_FALSE(state.deliverable());
  CHECK(state.count() == 1);
}

TEST_CASE("cancel_state: during unwinding only scopes that were entered since it began are served") {
  cancel_state state;
  cancel_scope before, since;
  state.enter(before, 0);
  state.enter(since, 1);
  request(state, "outside");
  state.post(before, cancelled_error("before"));
  CHECK(state.deliverable(0));
  CHECK_FALSE(state.deliverable(1));
  state.post(since, cancelled_error("since"));
  CHECK(state.deliverable(1));
  CHECK_FALSE(state.deliverable(2));
  CHECK(state.deliver(1).message() == "since");
  CHECK_FALSE(state.deliverable(1));
  CHECK(state.leave(since));  // a request that it cannot deliver does not concern it
  CHECK_FALSE(state.leave(before));
  CHECK(state.deliver().message() == "outside");
}

TEST_CASE("cancel_state: a request that the running task made of itself is recorded until it is delivered") {
  cancel_state state;
  state.post(state.outermost(), {}, true);
  CHECK(state.cancelled_itself());
  request(state);
  CHECK(state.cancelled_itself());
  state.deliver();
  CHECK_FALSE(state.cancelled_itself());
  request(state);
  CHECK_FALSE(state.cancelled_itself());
}

TEST_CASE("cancel_state: a stop token taken after a request is stopped already, before one is not") {
  cancel_state state;
  auto const before = state.stop_token();
  CHECK_FALSE(before.stop_requested());
  request(state);
  state.next_to_stop().request_stop();
  CHECK(before.stop_requested());
  CHECK_FALSE(state.has_tokens());
  CHECK(state.stop_token().stop_requested());
  state.deliver();
  CHECK(state.stop_token().stop_requested());
  state.uncancel();
  CHECK_FALSE(state.stop_token().stop_requested());
}

TEST_CASE("cancel_state: a stop token belongs to the scope in which it was taken") {
  cancel_state state;
  auto const outside = state.stop_token();
  cancel_scope scope;
  state.enter(scope, 0);
  auto const inside = state.stop_token();
  auto const stop_all = [&] {
    for (auto source = state.next_to_stop(); source.stop_possible(); source = state.next_to_stop()) {
      source.request_stop();
    }
  };
  SECTION("a request of that scope stops it alone") {
    state.post(scope, {});
    stop_all();
    CHECK(inside.stop_requested());
    CHECK_FALSE(outside.stop_requested());
    state.leave(scope);
    CHECK_FALSE(state.stop_token().stop_requested());
  }
  SECTION("a request from outside stops both") {
    request(state);
    stop_all();
    CHECK(inside.stop_requested());
    CHECK(outside.stop_requested());
  }
  SECTION("nothing stops it once the scope is left") {
    state.leave(scope);
    request(state);
    stop_all();
    CHECK_FALSE(inside.stop_requested());
    CHECK(outside.stop_requested());
  }
  SECTION("a shield delays it, and those inside are not stopped") {
    cancel_frame shield;
    state.open(shield, 0);
    auto const shielded = state.stop_token();
    request(state);
    stop_all();
    CHECK_FALSE(outside.stop_requested());
    state.close(shield);
    stop_all();
    CHECK(outside.stop_requested());
    CHECK_FALSE(shielded.stop_requested());
  }
}

TEST_CASE("cancel_state: a shield keeps requests from outside pending until it closes") {
  cancel_state state;
  cancel_frame shield;
  state.open(shield, 0);
  request(state, "outside");
  CHECK_FALSE(state.deliverable());
  CHECK(state.count() == 1);
  state.close(shield);
  CHECK(state.deliverable());
  CHECK(state.deliver().message() == "outside");
}

TEST_CASE("cancel_state: a shield keeps requests pending that were pending before") {
  cancel_state state;
  request(state, "before");
  cancel_frame shield;
  state.open(shield, 0);
  CHECK_FALSE(state.deliverable());
  state.close(shield);
  CHECK(state.deliver().message() == "before");
}

TEST_CASE("cancel_state: a scope inside a shield is served at once, and sees no pending request from outside") {
  cancel_state state;
  cancel_frame shield;
  state.open(shield, 0);
  request(state, "outside");
  CHECK(level(state) == 0);
  state.post(shield, cancelled_error("deadline"));
  CHECK(state.deliverable());
  CHECK(state.count() == 2);
  CHECK(state.deliver().message() == "deadline");
  CHECK(level(state) == 1);
  CHECK(state.uncancel() == 1);
  state.close(shield);
  CHECK(state.count() == 1);
  CHECK(state.deliver().message() == "outside");
}

TEST_CASE("cancel_state: a shield that closes withdraws the requests made inside it") {
  cancel_state state;
  cancel_frame shield;
  state.open(shield, 0);
  state.post(shield, cancelled_error("inside"));
  state.close(shield);
  CHECK(state.count() == 0);
  CHECK_FALSE(state.deliverable());
}

TEST_CASE("cancel_state: shields nest, and only the innermost frame is served") {
  cancel_state state;
  cancel_frame outer, inner;
  state.open(outer, 0);
  state.open(inner, 0);
  state.post(outer, cancelled_error("a scope between them"));
  request(state, "outside");
  CHECK_FALSE(state.deliverable());
  state.close(inner);
  CHECK(state.deliver().message() == "a scope between them");
  state.uncancel();
  state.close(outer);
  CHECK(state.deliver().message() == "outside");
  CHECK(state.count() == 1);
}

TEST_CASE("cancel_state: uncancel without a frame withdraws from the innermost that has a count") {
  cancel_state state;
  request(state, "outside");
  cancel_frame shield;
  state.open(shield, 0);
  state.post(shield, cancelled_error("inside"));
  CHECK(state.uncancel() == 1);
  CHECK(shield.count == 0);
  CHECK_FALSE(state.deliverable());
  CHECK(state.uncancel() == 0);
  state.close(shield);
  CHECK_FALSE(state.deliverable());
}
