// SPDX-License-Identifier: BSL-1.0

// 15. Find a bug
//
// A cache loads each page once, however many tasks ask for it: the first task loads it, the others wait. What happens
// if the first task is cancelled while it loads? A sweep finds out: it runs a body repeatedly, cancels it at another
// cancellation point each time, and checks what is left.
//
//   samples/run find_a_bug
//
// You will see the fault that the sweep finds in the first cache. It finds none in the second.

#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
using namespace std::chrono_literals;

std::string load(std::string const& name) {
  fibers::sleep_for(1s);
  return "page " + name;
}

class cache {
 public:
  std::string get(std::string const& name) {
    if (auto known = pages_.find(name); known != pages_.end()) {
      auto const page = known->second;
      page->loaded.wait();
      return page->text;
    }
    auto const page = pages_[name] = std::make_shared<entry>();
    page->text = load(name);
    page->loaded.set();
    return page->text;
  }

 private:
  struct entry {
    fibers::event loaded;
    std::string text;
  };
  std::map<std::string, std::shared_ptr<entry>> pages_;
};

// If the loading task is cancelled, it releases the lock, and the next task loads the page.
class better_cache {
 public:
  std::string get(std::string const& name) {
    auto& page = pages_[name];
    if (page == nullptr) page = std::make_shared<entry>();
    auto const mine = page;
    std::scoped_lock one_loads(mine->lock);
    if (!mine->loaded) {
      mine->text = load(name);
      mine->loaded = true;
    }
    return mine->text;
  }

 private:
  struct entry {
    fibers::mutex lock;
    bool loaded = false;
    std::string text;
  };
  std::map<std::string, std::shared_ptr<entry>> pages_;
};

// One reader is cancelled at any of its points; the other reader must still get its page.
template <class Cache>
void two_readers() {
  Cache pages;
  auto other = fibers::spawn("the other reader", [&] { pages.get("home"); });
  fibers::cleanup_guard const is_served([&] { other.get(); });
  pages.get("home");
}

// Removes the function names in brackets, which differ from compiler to compiler.
std::string without_functions(std::string text) {
  for (auto begin = text.find(" ("); begin != std::string::npos; begin = text.find(" (")) {
    text.erase(begin, text.rfind(')', text.find('\n', begin)) + 1 - begin);
  }
  return text;
}

int main() {
  try {
    fibers::testing::cancel_sweep(two_readers<cache>);
  } catch (fibers::testing::failure const& failure) {
    std::cout << without_functions(failure.what()) << '\n';
  }
  auto const runs = fibers::testing::cancel_sweep(two_readers<better_cache>);
  std::cout << "The better cache stood " << runs << " runs\n";
}
