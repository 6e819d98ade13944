// SPDX-License-Identifier: BSL-1.0

// 14. A pipeline
//
// It is cancelled in the middle, and loses nothing: it counts. Three stages with queues between them. Whenever a stage
// is cancelled, each item is in exactly one place: with the stage that has it, in a queue, or at the end. A get() that
// is cancelled has taken nothing, and a put() that is cancelled still has its item, which the stage then hands on
// without waiting.
//
//   samples/run pipeline
//
// You will see how many items were made, and where all of them are after the cancellation.

#include <fibers/fibers.hpp>
#include <iostream>
#include <memory>
#include <vector>
using namespace std::chrono_literals;

using item = std::unique_ptr<int>;  // cannot be copied: there is one of each

struct pipeline {
  fibers::queue<item> raw{2}, parsed{2};
  std::vector<item> rescued;  // by a stage that was stopped while it had one
  std::vector<item> stored;
  int made = 0;

  // Puts it in, or keeps it safe if cancelled while waiting for room.
  void hand_on(fibers::queue<item>& to, item what) {
    try {
      to.put(std::move(what));
    } catch (fibers::cancelled_error const&) {
      rescued.push_back(std::move(what));
      throw;
    }
  }

  void make() {
    for (;;) {
      fibers::sleep_for(10ms);
      hand_on(raw, std::make_unique<int>(++made));
    }
  }
  void parse() {
    for (;;) hand_on(parsed, raw.get());
  }
  void store() {
    for (;;) {
      stored.push_back(parsed.get());
      fibers::sleep_for(25ms);  // the slowest: the queues before it fill up
    }
  }
};

int main() {
  fibers::run([] {
    pipeline line;
    bool const finished = fibers::move_on_after(
        1s, [&] { fibers::gather([&] { line.make(); }, [&] { line.parse(); }, [&] { line.store(); }); });
    std::cout << (finished ? "finished" : "stopped after a second") << "\n";

    auto const in_queues = line.raw.size() + line.parsed.size();
    std::cout << "made: " << line.made << "\n"
              << "stored: " << line.stored.size() << ", in queues: " << in_queues
              << ", rescued: " << line.rescued.size() << "\n"
              << "lost: " << line.made - static_cast<int>(line.stored.size() + in_queues + line.rescued.size()) << "\n";
  });
}
