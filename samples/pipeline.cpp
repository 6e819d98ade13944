// SPDX-License-Identifier: BSL-1.0

// 14. A pipeline
//
// Three stages with queues between them are cancelled in the middle, and no item is lost. At every moment each item is
// in exactly one place: in a stage, in a queue, or in the store. A cancelled get() has taken no item. A cancelled put()
// still has its item, and the stage stores it elsewhere without waiting.
//
//   samples/run pipeline
//
// You will see how many items were made, and where they are after the cancellation.

#include <fibers/fibers.hpp>
#include <iostream>
#include <memory>
#include <vector>
using namespace std::chrono_literals;

using item = std::unique_ptr<int>;  // move-only: no item exists twice

struct pipeline {
  fibers::queue<item> raw{2}, parsed{2};
  std::vector<item> rescued;  // items of stages that were cancelled in put()
  std::vector<item> stored;
  int made = 0;

  // Puts the item into the queue, or into `rescued` if put() is cancelled.
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
      fibers::sleep_for(25ms);  // the slowest stage: the queues before it fill up
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
