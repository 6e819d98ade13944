// SPDX-License-Identifier: BSL-1.0
#include <atomic>
#include <fibers/detail/engine/task_body.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <set>
#include <thread>

#include "catch.hpp"

using fibers::detail::claim;
using fibers::detail::plain_waiter;
using fibers::detail::waiter;

namespace {
auto const task = fibers::detail::make_task([] {});  // never run
boost::source_location const place = BOOST_CURRENT_LOCATION;

// Spins for different durations, so that either thread may be first, also if threads share a processor.
void hesitate(int round) {
  for (int left = round % 100; left > 0; --left) asm volatile("");
  for (int left = round % 3; left > 0; --left) std::this_thread::yield();
}

void wait_for(std::atomic<int> const& count, int value) {
  for (int tries = 0; count != value; ++tries) {
    if (tries > 100) std::this_thread::yield();
  }
}
}  // namespace

TEST_CASE("waiter: exactly one claim succeeds, and its reason stays") {
  plain_waiter w(*task, place);
  CHECK(w.claimed() == claim::none);
  CHECK(w.try_claim(claim::cancelled));
  CHECK_FALSE(w.try_claim(claim::notified));
  CHECK_FALSE(w.try_claim(claim::cancelled));
  CHECK(w.claimed() == claim::cancelled);
}

TEST_CASE("waiter: of two threads that claim at once exactly one succeeds") {
  std::atomic<waiter*> shared = nullptr;
  std::atomic<bool> stop = false, other_won = false;
  std::atomic<int> begun = 0, answers = 0;
  std::thread other([&] {
    while (!stop) {
      auto* const w = shared.exchange(nullptr);
      if (w == nullptr) {
        std::this_thread::yield();
        continue;
      }
      hesitate(++begun);
      other_won = w->try_claim(claim::cancelled);
      ++answers;
    }
  });
  std::set<claim> winners;
  bool agreed = true;
  for (int round = 1; winners.size() < 2; ++round) {
    plain_waiter w(*task, place);
    shared = &w;
    wait_for(begun, round);
    hesitate(round / 3);
    bool const i_won = w.try_claim(claim::notified);
    wait_for(answers, round);
    agreed = agreed && i_won != other_won && w.claimed() == (i_won ? claim::notified : claim::cancelled);
    winners.insert(w.claimed());
  }
  stop = true;
  other.join();
  CHECK(agreed);
}
