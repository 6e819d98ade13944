// SPDX-License-Identifier: BSL-1.0

// Random programs in virtual time: tasks that put, get, acquire, lock, wait, time out and are cancelled. Whatever they
// do, nothing may be lost or duplicated, and once no task can proceed, no task may wait for a free primitive.
//
// FIBERS_SEED=7 repeats the program of one seed, FIBERS_SEEDS=10000 sets how many are run.

#include <cstdint>
#include <cstdlib>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "record.hpp"
#include "shared_things.hpp"

using namespace std::chrono_literals;
using fibers::sleep_for;
using fibers::testing::broken;
using fibers::testing::happened;
namespace this_task = fibers::this_task;

namespace {

/// splitmix64: small, and neighbouring seeds are uncorrelated.
class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed) {}
  unsigned operator()(unsigned sides) {
    auto z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return static_cast<unsigned>((z ^ (z >> 31U)) % sides);
  }

 private:
  std::uint64_t state_;
};

/// A task, as shared_things sees it.
class player {
 public:
  explicit player(std::uint64_t seed) : chance_(seed) {}
  unsigned choose(unsigned sides) { return chance_(sides); }
  template <class Call>
  auto wait(Call call) {
    return call();
  }
  void meanwhile() {
    if (auto const length = choose(3)) {
      sleep_for(std::chrono::seconds(length));
    } else {
      this_task::yield();
    }
  }

 private:
  dice chance_;
};

/// One program: its shared things and its tasks.
class program {
 public:
  explicit program(std::uint64_t seed)
      : seed_(seed), chance_(seed), things_([this](unsigned n) { return chance_(n); }) {}

  void run() {
    unsigned const workers = 2 + chance_(7);
    for (unsigned i = 0; i < workers; ++i) tasks_.push_back(fibers::spawn([this, i] { work(player(seed_ * 64 + i)); }));
    for (int i = 0; i < 15; ++i) {
      sleep_for(500ms);  // other tasks act at full seconds only
      things_.check_at_rest();
      sleep_for(500ms);
      tasks_[chance_(workers)].cancel();
    }
    sleep_for(1h);  // no task can proceed after this
    things_.check_at_rest();
    things_.check_given_back();
    over_ = true;
    for (auto& task : tasks_) task.cancel();
    for (auto& task : tasks_) task.wait();
    things_.check_books();
  }

 private:
  void work(player self) {
    for (int steps = 15; steps > 0 && !over_; --steps) {
      try {
        if (self.choose(2) == 0) {
          if (!fibers::move_on_after(std::chrono::seconds(self.choose(4)), [&] { step(self); })) ++happened["timeouts"];
        } else {
          step(self);
        }
        if (self.choose(3) == 0) self.meanwhile();
      } catch (fibers::cancelled_error const&) {
        ++happened["cancellations"];
      } catch (fibers::queue_shut_down const&) {
        ++happened["refused"];
      } catch (fibers::broken_barrier_error const&) {
        ++happened["broken rounds"];
      }
    }
  }

  void step(player& self) {
    if (self.choose(6) == 0) {
      tasks_[self.choose(static_cast<unsigned>(tasks_.size()))].cancel();  // perhaps this task itself
    } else {
      things_.step(self);
    }
  }

  std::uint64_t const seed_;
  dice chance_;
  fibers::testing::shared_things things_;
  bool over_ = false;
  std::vector<fibers::task<void>> tasks_;  // the last member: tasks use the others
};

std::uint64_t number_of(char const* variable, std::uint64_t otherwise) {
  char const* const text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace

TEST_CASE_METHOD(fibers::testing::virtual_time, "conservation: whatever tasks do, nothing is lost, duplicated or stuck",
                 "[TRAP-03][TRAP-04][TRAP-05][TRAP-06][TRAP-31]") {
  auto const only = number_of("FIBERS_SEED", 0);
  auto const first = only != 0 ? only : 1;
  auto const count = only != 0 ? 1 : number_of("FIBERS_SEEDS", fibers::testing::sanitized ? 2000 : 10000);
  for (auto seed = first; seed < first + count; ++seed) {
    broken.clear();
    INFO("repeat with FIBERS_SEED=" << seed);
    REQUIRE_NOTHROW(fibers::run(options(), [&] { program(seed).run(); }));
    CAPTURE(broken);
    REQUIRE(broken.empty());
  }
  std::string all;
  for (auto const& [what, times] : happened) all += std::to_string(times) + ' ' + what + ", ";
  CAPTURE(all);
  CHECK((happened.size() == 9 || count < 100));
}
