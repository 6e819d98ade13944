// SPDX-License-Identifier: BSL-1.0

// 15. Find a bug
//
// A cache loads each page once, however many ask for it: the first one loads, the others wait. What if the first one is
// cancelled while it loads? A sweep tries: it cancels a body at every point where that can be cancelled, and each time
// looks at what is left.
//
//   samples/run find_a_bug
//
// You will see what is wrong with the first cache, and that nothing is with the second.

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

// One that has not loaded its page to the end leaves it to the next one.
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

// One who asks may be cancelled at any point; the other one must get its page all the same.
template <class Cache>
void two_readers() {
  Cache pages;
  auto other = fibers::spawn("the other reader", [&] { pages.get("home"); });
  fibers::cleanup_guard const is_served([&] { other.get(); });
  pages.get("home");
}

// Their names, which stand in brackets, are not the same with every compiler.
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
