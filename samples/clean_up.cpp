// SPDX-License-Identifier: BSL-1.0

// 4. Cancel, and clean up
//
// A cancellation request is delivered once. Clean-up may therefore wait as long as it needs, in handlers and in
// destructors. An exception must not leave a destructor: with_shield() keeps requests pending while it waits.
//
//   samples/run clean_up
//
// You will see a task that is cancelled after two seconds and takes two more to clean up. The caller waits for it.

#include <fibers/fibers.hpp>
#include <iostream>
using namespace std::chrono_literals;

class connection {
 public:
  connection() { std::cout << "Connected\n"; }
  ~connection() {
    fibers::with_shield([] {
      std::cout << "Saying goodbye\n";
      fibers::sleep_for(1s);
      std::cout << "Disconnected\n";
    });
  }
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;

  void receive() { fibers::sleep_for(5s); }
};

void download() {
  connection server;
  try {
    server.receive();
  } catch (fibers::cancelled_error const&) {
    std::cout << "Clean-up started\n";
    fibers::sleep_for(1s);
    std::cout << "Clean-up finished\n";
    throw;
  }
}

int main() {
  fibers::run([] {
    auto const start = fibers::clock::now();
    auto task = fibers::spawn(download);
    fibers::sleep_for(2s);
    task.cancel();
    try {
      task.get();
    } catch (fibers::cancelled_error const&) {
      auto const seconds = std::chrono::round<std::chrono::seconds>(fibers::clock::now() - start);
      std::cout << "Over after " << seconds.count() << " s\n";
    }
  });
}
