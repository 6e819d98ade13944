// SPDX-License-Identifier: BSL-1.0

// 7. Release resources
//
// C++ does with constructors and destructors, which may wait, what asyncio does with `async with`. A cleanup_guard is a
// destructor written in place. A group ends before the block around it, so its tasks may use the local variables of
// that block.
//
//   samples/run resources
//
// You will see a block left in three ways: at its end, by an error, and by a cancellation. What was begun last ends
// first: the queries, then the transaction, then the connection.

#include <fibers/fibers.hpp>
#include <iostream>
#include <stdexcept>
#include <string>
using namespace std::chrono_literals;

class database {
 public:
  database() {
    fibers::sleep_for(1s);
    std::cout << "Connected\n";
  }
  ~database() {
    fibers::with_shield([] { fibers::sleep_for(1s); });
    std::cout << "Disconnected\n";
  }
  database(database const&) = delete;
  database& operator=(database const&) = delete;

  void query(std::string const& table) {
    fibers::sleep_for(1s);
    if (table == "unicorns") throw std::runtime_error("there is no table " + table);
    std::cout << "Read " << table << '\n';
  }

  void roll_back() {
    fibers::sleep_for(1s);
    std::cout << "Rolled back\n";
  }
};

void copy(std::string const& from, std::string const& to) {
  database data;
  fibers::cleanup_guard on_failure([&] { data.roll_back(); });
  fibers::with_task_group([&](fibers::task_group& group) {
    group.spawn([&] { data.query(from); });
    group.spawn([&] { data.query(to); });
  });
  on_failure.dismiss();
  std::cout << "Committed\n";
}

int main() {
  fibers::run([] {
    copy("apples", "pears");

    std::cout << "---\n";
    try {
      copy("apples", "unicorns");
    } catch (fibers::exception_group const&) {
      std::cout << "Failed\n";
    }

    std::cout << "---\n";
    auto copying = fibers::spawn([] { copy("apples", "pears"); });
    fibers::sleep_for(1500ms);
    copying.cancel_and_wait();
    std::cout << "Cancelled\n";
  });
}
