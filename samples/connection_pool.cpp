// SPDX-License-Identifier: BSL-1.0

// 13. A connection pool
//
// Many tasks share two connections. A semaphore counts the free ones. A timeout encloses only the wait for a
// connection, so a task that waits too long is told "busy". A guard returns the connection however the work ends, also
// if it is cancelled.
//
//   samples/run connection_pool
//
// You will see two requests served, one rejected, and one cancelled in the middle of its work. At the end both
// connections are free.

#include <fibers/fibers.hpp>
#include <iostream>
#include <string>
#include <vector>
using namespace std::chrono_literals;

class connection_pool {
 public:
  explicit connection_pool(int size) : permits_(size) {
    for (int number = size; number > 0; --number) free_.push_back(number);
  }

  /// Calls work(connection). Throws timeout_error if no connection becomes free within the given time.
  template <class Work>
  void with_connection(fibers::duration patience, Work work) {
    fibers::with_timeout(patience, [&] { permits_.acquire(); });
    int const connection = free_.back();
    free_.pop_back();
    fibers::cleanup_guard const give_back([&] {
      free_.push_back(connection);
      permits_.release();
    });
    work(connection);
  }

  std::size_t free() const { return free_.size(); }

 private:
  fibers::semaphore permits_;
  std::vector<int> free_;
};

int main() {
  fibers::run([] {
    connection_pool pool(2);

    auto const request = [&pool](std::string name, fibers::duration length) {
      return [&pool, name, length] {
        try {
          pool.with_connection(1s, [&](int connection) {
            std::cout << name << " has connection " << connection << "\n";
            fibers::sleep_for(length);
            std::cout << name << " is served\n";
          });
        } catch (fibers::timeout_error const&) {
          std::cout << name << ": busy, come back later\n";
        } catch (fibers::cancelled_error const&) {
          std::cout << name << " was cancelled\n";
          throw;
        }
      };
    };

    auto first = fibers::spawn(request("first", 2s));
    auto second = fibers::spawn(request("second", 10s));
    auto third = fibers::spawn(request("third", 1s));
    fibers::sleep_for(2500ms);
    auto fourth = fibers::spawn(request("fourth", 1s));
    fourth.get();
    second.cancel_and_wait();
    std::cout << "free connections: " << pool.free() << "\n";
  });
}
