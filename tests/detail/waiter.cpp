// SPDX-License-Identifier: BSL-1.0
#include <fibers/detail/task_body.hpp>
#include <fibers/detail/waiter.hpp>
#include <set>
#include <thread>

#include "catch.hpp"

using fibers::detail::claim;
using fibers::detail::waiter;

namespace {
auto const task = fibers::detail::make_task([] {});  // never run
boost::source_location const place = BOOST_CURRENT_LOCATION;
}  // namespace

TEST_CASE("waiter: exactly one claim succeeds, and its reason stays") {
  waiter w(*task, place);
  CHECK(w.claimed() == claim::none);
  CHECK(w.try_claim(claim::cancelled));
  CHECK_FALSE(w.try_claim(claim::notified));
  CHECK_FALSE(w.try_claim(claim::cancelled));
  CHECK(w.claimed() == claim::cancelled);
}

TEST_CASE("waiter: armed anew it can be claimed again") {
  waiter w(*task, place);
  REQUIRE(w.try_claim(claim::notified));
  w.rearm();
  CHECK(w.claimed() == claim::none);
  CHECK(w.try_claim(claim::closed));
  CHECK(w.claimed() == claim::closed);
}

TEST_CASE("waiter: of two threads that claim at once one wins, whichever it is") {
  std::atomic<waiter*> shared = nullptr;
  std::atomic<bool> stop = false;
  std::atomic<int> answers = 0;
  std::atomic<bool> other_won = false;
  std::thread other([&] {
    while (!stop) {
      if (auto* const w = shared.exchange(nullptr)) {
        other_won = w->try_claim(claim::cancelled);
        ++answers;
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::set<claim> winners;
  bool agreed = true;
  for (int round = 1; winners.size() < 2; ++round) {
    waiter w(*task, place);
    shared = &w;
    for (int i = 0; i < round % 200 && shared.load() != nullptr; ++i) std::this_thread::yield();
    bool const i_won = w.try_claim(claim::notified);
    while (answers != round) std::this_thread::yield();
    agreed = agreed && i_won != other_won && w.claimed() == (i_won ? claim::notified : claim::cancelled);
    winners.insert(w.claimed());
  }
  stop = true;
  other.join();
  CHECK(agreed);
}
