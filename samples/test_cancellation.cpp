// SPDX-License-Identifier: BSL-1.0

// 11. Test cancellation
//
// In virtual time the clock jumps to the next deadline whenever no task can run. A test of hours takes no time and is
// deterministic. If no task can ever run again, deadlock_error lists the waiting tasks and their call sites.
//
//   samples/run test_cancellation
//
// You will see which files a slow save leaves if it is cancelled after 0, 30, … 120 minutes, and a wait that would
// never end.

#include <fibers/fibers.hpp>
#include <iostream>
#include <set>
#include <string>
using namespace std::chrono_literals;

void save(std::set<std::string>& files) {
  files.insert("report.part");
  fibers::cleanup_guard tidy_up([&] { files.erase("report.part"); });
  fibers::sleep_for(1h);
  files.insert("report");
  fibers::sleep_for(30min);
}

void test_save(std::chrono::minutes moment) {
  std::set<std::string> files;
  fibers::run({.clock = fibers::clock_kind::virtual_time}, [&] {
    auto saving = fibers::spawn([&] { save(files); });
    fibers::sleep_for(moment);
    saving.cancel_and_wait();
  });
  std::cout << "Cancelled after " << moment.count() << " min:";
  for (auto const& file : files) std::cout << ' ' << file;
  std::cout << '\n';
}

void test_deadlock() {
  try {
    fibers::run({.clock = fibers::clock_kind::virtual_time}, [] {
      fibers::event never_set;
      never_set.wait();
    });
  } catch (fibers::deadlock_error const&) {
    std::cout << "This would never have ended\n";
  }
}

int main() {
  for (auto moment = 0min; moment <= 120min; moment += 30min) test_save(moment);
  test_deadlock();
}
