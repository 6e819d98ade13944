// SPDX-License-Identifier: BSL-1.0

#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <stdexcept>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using fibers::testing::expect_no_suspension_point;
using fibers::testing::expect_suspension_point;
using fibers::testing::how;
using fibers::testing::virtual_time;

TEST_CASE_METHOD(virtual_time, "suspension_point: a function that may wait is one, also if it need not wait") {
  run([&] {
    fibers::queue<int> items(2);
    fibers::mutex lock;
    seen(how([&] { expect_suspension_point([&] { items.put(1); }); }));
    seen(how([&] { return expect_suspension_point([&] { return items.get(); }); }));
    seen(how([&] { expect_suspension_point([&] { std::scoped_lock const held(lock); }); }));
    seen(how([&] { expect_suspension_point([] { fibers::this_task::checkpoint(); }); }));
    seen(how([&] { expect_suspension_point([] { fibers::sleep_for(1s); }); }));
  });
  CHECK(seen == "returned@0, returned 1@0, returned@0, returned@0, returned@1");
}

TEST_CASE_METHOD(virtual_time, "suspension_point: a function that never suspends is none") {
  run([&] {
    fibers::queue<int> items(2);
    fibers::event event;
    fibers::semaphore permits(1);
    auto task = fibers::spawn([] {});
    seen(how([&] { return expect_no_suspension_point([&] { return items.try_put(7); }); }));
    seen(how([&] { return expect_no_suspension_point([&] { return *items.try_get(); }); }));
    seen(how([&] { expect_no_suspension_point([&] { event.set(); }); }));
    seen(how([&] { expect_no_suspension_point([&] { permits.release(); }); }));
    seen(how([&] { expect_no_suspension_point([&] { task.cancel(); }); }));
  });
  CHECK(seen == "returned 1@0, returned 7@0, returned@0, returned@0, returned@0");
}

TEST_CASE_METHOD(virtual_time, "suspension_point: a wrong expectation is a failure, which names the call site") {
  run([&] {
    seen(how([] { expect_suspension_point([] {}); }));
    seen(how([] { expect_no_suspension_point([] { fibers::sleep_for(1s); }); }));
    seen(how([] { expect_suspension_point([]() -> int { throw std::runtime_error("of the call"); }); }));
    auto other = fibers::spawn([] { fibers::sleep_for(1s); });
    seen(how([] { expect_no_suspension_point([] {}); }));  // suspension points of other tasks do not count
    other.get();
  });
  CHECK_THAT(seen.text(), ContainsSubstring("suspension_point.cpp:") && ContainsSubstring("is none: a request") &&
                              ContainsSubstring("is one: a request to cancel would be delivered at") &&
                              ContainsSubstring("failed: of the call@1, returned@1"));
}
