// SPDX-License-Identifier: BSL-1.0

// 10. A timeout of one's own
//
// A timer is a task that sleeps and then calls cancel(). Most programs need none: with_timeout() passes the timeout to
// its body, which may move the deadline, and move_on_after() returns an empty optional if the body is late.
//
//   samples/run a_timeout_of_ones_own
//
// You will see a task cancelled by another task, a deadline that is moved as long as there is progress, and an answer
// that comes too late.

#include <fibers/fibers.hpp>
#include <iostream>
#include <optional>
#include <string>
using namespace std::chrono_literals;

void cancel_by_a_timer() {
  auto work = fibers::spawn([] { fibers::sleep_for(5s); });
  auto timer = fibers::spawn([&] {
    fibers::sleep_for(2s);
    work.cancel("it took too long");
  });
  try {
    work.get();
  } catch (fibers::cancelled_error const& error) {
    std::cout << "Work was cancelled: " << error.message() << '\n';
  }
}

void allow_no_standstill() {
  auto const start = fibers::clock::now();
  try {
    fibers::with_timeout(2s, [](fibers::timeout_scope& timeout) {
      for (auto pause : {1s, 1s, 1s, 5s}) {
        fibers::sleep_for(pause);
        std::cout << "Progress\n";
        timeout.reschedule_after(2s);
      }
    });
  } catch (fibers::timeout_error const&) {
    auto const seconds = std::chrono::round<std::chrono::seconds>(fibers::clock::now() - start);
    std::cout << "Work stood still, and was cancelled after " << seconds.count() << " s\n";
  }
}

void do_without() {
  std::optional<std::string> const answer = fibers::move_on_after(2s, [] {
    fibers::sleep_for(5s);
    return std::string("forty-two");
  });
  std::cout << "The answer is " << answer.value_or("not known yet") << '\n';
}

int main() {
  fibers::run([] {
    cancel_by_a_timer();
    allow_no_standstill();
    do_without();
  });
}
