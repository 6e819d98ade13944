// SPDX-License-Identifier: BSL-1.0

// 4. Cancel, and clean up
//
// A request to cancel is thrown once. So clean-up may wait as long as it needs: in a handler, and in a destructor, too.
// A destructor must not let an exception out: with_shield() holds back the requests that come while it waits.
//
//   samples/run clean_up
//
// You will see a task cancelled after two seconds that takes two more to clean up, and is waited for.

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
