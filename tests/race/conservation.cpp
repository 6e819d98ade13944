// SPDX-License-Identifier: BSL-1.0

// Random programs in virtual time: tasks that put, get, acquire, lock, wait, time out and are cancelled. Whatever they
// do, nothing may be lost or doubled, and once nothing moves any more, nobody may wait for a thing that is free.
//
// FIBERS_SEED=7 repeats the program of one seed, FIBERS_SEEDS=10000 sets how many are run.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fibers/barrier.hpp>
#include <fibers/condition_variable.hpp>
#include <fibers/event.hpp>
#include <fibers/get_any.hpp>
#include <fibers/mutex.hpp>
#include <fibers/queue.hpp>
#include <fibers/semaphore.hpp>
#include <fibers/shared_mutex.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using namespace std::chrono_literals;
using fibers::sleep_for;
namespace this_task = fibers::this_task;

namespace {

/// splitmix64: small, and neighbouring seeds have nothing in common.
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

/// What happened in all programs: a test in which nothing does proves nothing.
std::map<std::string, int> happened;

/// Laws that were broken in this program.
std::vector<std::string> broken;

void law(bool holds, char const* what) {
  if (!holds) broken.emplace_back(what);
}

/// Counts those who are somewhere.
class counted_in {
 public:
  explicit counted_in(int& count) : count_(++count) {}
  counted_in(counted_in const&) = delete;
  counted_in& operator=(counted_in const&) = delete;
  ~counted_in() { --count_; }

 private:
  int& count_;
};

struct parcel {
  explicit parcel(int number) : id(number) {}
  parcel(parcel&& other) noexcept : id(std::exchange(other.id, 0)) {}
  parcel& operator=(parcel&& other) noexcept {
    id = std::exchange(other.id, 0);
    return *this;
  }
  ~parcel() = default;
  friend bool operator<(parcel const& a, parcel const& b) { return a.id < b.id; }
  int id;  // 0: moved from
};

/// A queue and its books.
template <class Queue>
struct shop {
  explicit shop(std::size_t capacity) : queue(capacity) {}

  void put() {
    int const id = ++last_id;
    parcel item(id);
    try {
      counted_in const waiting(putters);
      queue.put(std::move(item));
    } catch (...) {
      law(item.id == id, "an item that was not put is as it was");
      throw;
    }
    in.push_back(id);
  }
  void try_put() {
    int const id = ++last_id;
    parcel item(id);
    bool const done = queue.try_put(std::move(item));
    law(item.id == (done ? 0 : id), "an item is moved if it was put, and only then");
    if (done) in.push_back(id);
  }
  void get() {
    auto const item = [&] {
      counted_in const waiting(getters);
      return queue.get();
    }();
    took(item);
  }
  void took(parcel const& item) {
    out.push_back(item.id);
    queue.task_done();
    ++happened["items got"];
  }
  void try_get() {
    if (auto const item = queue.try_get()) took(*item);
  }
  void join() {
    counted_in const waiting(joiners);
    queue.join();
  }
  void shutdown(bool immediate) {
    if (immediate) dropped += queue.size();
    queue.shutdown(immediate);
    shut_down = true;
    ++happened["shutdowns"];
  }

  void check_at_rest() {
    law(getters == 0 || queue.empty(), "nobody waits for an item while there are any");
    law(putters == 0 || queue.full(), "nobody waits for room while there is any");
    law(getters == 0 || putters == 0, "nobody waits for an item while somebody waits with one");
    law(joiners == 0 || queue.size() > 0, "nobody waits for items to be done when all are");
    law(!shut_down || (getters == 0 && putters == 0), "nobody waits at a queue that was shut down");
  }
  void check_books() {
    std::size_t left = 0;
    try {
      while (auto const item = queue.try_get()) {
        out.push_back(item->id);
        ++left;
      }
    } catch (fibers::queue_shut_down const&) {
    }
    law(in.size() == out.size() + dropped, "items put are items got and items in the queue");
    std::sort(in.begin(), in.end());
    std::sort(out.begin(), out.end());
    law(std::adjacent_find(out.begin(), out.end()) == out.end(), "no item is got twice");
    law(std::includes(in.begin(), in.end(), out.begin(), out.end()), "what is got was put");
  }

  Queue queue;
  int last_id = 0;
  std::vector<int> in, out;
  std::size_t dropped = 0;
  bool shut_down = false;
  int getters = 0, putters = 0, joiners = 0;
};

/// One program: what it shares, and the tasks.
class program {
 public:
  explicit program(std::uint64_t seed)
      : seed_(seed),
        chance_(seed),
        may_shut_down_(chance_(8) == 0),
        first_(chance_(4)),
        last_(chance_(4)),
        least_(chance_(3) == 0 ? fibers::unbounded : 1 + chance_(3)),
        permits_(1 + static_cast<int>(chance_(4))),
        free_(permits_),
        parties_(1 + static_cast<int>(chance_(3))),
        meeting_(parties_),
        passed_(static_cast<std::size_t>(parties_)) {
    // Few kinds in one program, so that its tasks get into each other's way.
    for (auto count = 1 + chance_(3); count > 0; --count) kinds_.push_back(chance_(9));
  }

  void run() {
    unsigned const workers = 2 + chance_(7);
    for (unsigned i = 0; i < workers; ++i) tasks_.push_back(fibers::spawn([this, i] { work(dice(seed_ * 64 + i)); }));
    for (int i = 0; i < 15; ++i) {
      sleep_for(500ms);  // the others move at full seconds only
      check_at_rest();
      sleep_for(500ms);
      tasks_[chance_(workers)].cancel();
    }
    sleep_for(1h);  // all that will ever move has moved
    check_at_rest();
    law(held_ + owners_ + writers_ + readers_ == 0, "what is held is given back");
    over_ = true;
    for (auto& task : tasks_) task.cancel();
    for (auto& task : tasks_) task.wait();
    check_books();
  }

 private:
  void work(dice chance) {
    for (int steps = 15; steps > 0 && !over_; --steps) {
      try {
        if (chance(2) == 0) {
          if (!fibers::move_on_after(std::chrono::seconds(chance(4)), [&] { step(chance); })) ++happened["timeouts"];
        } else {
          step(chance);
        }
        if (chance(3) == 0) pause(chance);
      } catch (fibers::cancelled_error const&) {
        ++happened["cancellations"];
      } catch (fibers::queue_shut_down const&) {
        ++happened["refused"];
      } catch (fibers::broken_barrier_error const&) {
        ++happened["broken rounds"];
      }
    }
  }

  void pause(dice& chance) {
    if (auto const length = chance(3)) {
      sleep_for(std::chrono::seconds(length));
    } else {
      this_task::yield();
    }
  }

  void step(dice& chance) {
    if (chance(6) == 0) {
      tasks_[chance(static_cast<unsigned>(tasks_.size()))].cancel();  // perhaps oneself
      return;
    }
    switch (kinds_[chance(static_cast<unsigned>(kinds_.size()))]) {
      case 0:
        return trade(chance, first_);
      case 1:
        return trade(chance, last_);
      case 2:
        return trade(chance, least_);
      case 3:
        return acquire(chance);
      case 4:
        return lock(chance);
      case 5:
        return chance(2) == 0 ? write(chance) : read(chance);
      case 6:
        return chance(2) == 0 ? take_token() : give_token(chance);
      case 7:
        return meet(chance);
      default:
        return event(chance);
    }
  }

  template <class Queue>
  void trade(dice& chance, shop<Queue>& s) {
    switch (chance(24)) {
      case 0:
        return s.try_put();
      case 1:
        return s.try_get();
      case 2:
        return s.join();
      case 3:
        if (may_shut_down_) s.shutdown(chance(2) == 0);
        return;
      case 4:
        return get_any();
      default:
        return chance(2) == 0 ? s.put() : s.get();
    }
  }

  void get_any() {
    auto item = [&] {
      counted_in const waiting(choosers_);
      return fibers::get_any(first_.queue, last_.queue);
    }();
    if (item.index() == 0) {
      first_.took(std::get<0>(item));
    } else {
      last_.took(std::get<1>(item));
    }
    ++happened["got from any"];
  }

  void acquire(dice& chance) {
    int const wanted = 1 + static_cast<int>(chance(static_cast<unsigned>(permits_)));
    if (chance(4) > 0) {
      counted_in const waiting(acquirers_);
      free_.acquire(wanted);
    } else if (!free_.try_acquire(wanted)) {
      return;
    }
    held_ += wanted;
    law(held_ + free_.available() <= permits_, "no permit is given twice");
    guarded(chance, [&] {
      held_ -= wanted;
      free_.release(wanted);
    });
  }

  void lock(dice& chance) {
    if (chance(4) > 0) {
      counted_in const waiting(lockers_);
      mutex_.lock();
    } else if (!mutex_.try_lock()) {
      return;
    }
    law(++owners_ == 1, "a mutex has one owner");
    guarded(chance, [&] {
      --owners_;
      mutex_.unlock();
    });
  }

  void write(dice& chance) {
    if (chance(4) > 0) {
      counted_in const waiting(sharers_);
      shared_.lock();
    } else if (!shared_.try_lock()) {
      return;
    }
    law(++writers_ == 1 && readers_ == 0, "a writer is alone");
    guarded(chance, [&] {
      --writers_;
      shared_.unlock();
    });
  }
  void read(dice& chance) {
    if (chance(4) > 0) {
      counted_in const waiting(sharers_);
      shared_.lock_shared();
    } else if (!shared_.try_lock_shared()) {
      return;
    }
    ++readers_;
    law(writers_ == 0, "readers are without a writer");
    guarded(chance, [&] {
      --readers_;
      shared_.unlock_shared();
    });
  }

  // Has it for a while.
  template <class GiveBack>
  void guarded(dice& chance, GiveBack give_back) {
    try {
      pause(chance);
    } catch (...) {
      give_back();
      throw;
    }
    give_back();
  }

  void take_token() {
    std::unique_lock guard(tokens_mutex_);
    counted_in const waiting(token_takers_);
    try {
      changed_.wait(guard, [&] { return tokens_ > 0; });
    } catch (...) {
      law(guard.owns_lock(), "the lock is held however a wait ends");
      throw;
    }
    --tokens_;
    ++happened["tokens"];
  }
  void give_token(dice& chance) {
    std::unique_lock guard(tokens_mutex_);
    ++tokens_;
    if (chance(2) == 0) guard.unlock();
    changed_.notify_one();
  }

  void meet(dice& chance) {
    if (chance(16) == 0) return meeting_.reset();
    std::size_t number = 0;
    {
      counted_in const waiting(comers_);
      number = meeting_.arrive_and_wait();
    }
    ++passed_.at(number);
    ++happened["meetings"];
  }

  void event(dice& chance) {
    switch (chance(4)) {
      case 0:
        return event_.set();
      case 1:
        return event_.clear();
      default:
        counted_in const waiting(event_waiters_);
        return event_.wait();
    }
  }

  void check_at_rest() {
    first_.check_at_rest();
    last_.check_at_rest();
    least_.check_at_rest();
    law(choosers_ == 0 || (first_.queue.empty() && last_.queue.empty()), "nobody waits for any while there is one");
    law(choosers_ == 0 || first_.putters + last_.putters == 0, "nobody waits for any while somebody waits with one");
    law(choosers_ == 0 || !first_.shut_down || !last_.shut_down, "nobody waits at queues that were shut down");
    law(held_ + free_.available() == permits_, "permits are held or free");
    law(acquirers_ == 0 || held_ > 0, "nobody waits for permits when all are free");
    law(mutex_.is_locked() == (owners_ == 1), "a mutex is locked if somebody has it");
    law(lockers_ == 0 || owners_ == 1, "nobody waits for a free mutex");
    law(sharers_ == 0 || readers_ + writers_ > 0, "nobody waits for a free shared_mutex");
    bool const free = shared_.try_lock();
    law(free == (readers_ + writers_ == 0), "a shared_mutex is locked if somebody has it");
    if (free) shared_.unlock();
    law(token_takers_ == 0 || tokens_ == 0, "nobody waits for a token while there are any");
    law(!tokens_mutex_.is_locked(), "who waits for a condition does not hold the lock");
    law(comers_ < parties_ && static_cast<int>(meeting_.waiting()) == comers_, "fewer wait than would be enough");
    law(event_waiters_ == 0 || !event_.is_set(), "nobody waits for what has happened");
  }
  void check_books() {
    first_.check_books();
    last_.check_books();
    least_.check_books();
    law(free_.available() == permits_ && held_ == 0, "all permits are there");
    law(!mutex_.is_locked() && owners_ == 0, "the mutex is free");
    law(!tokens_mutex_.is_locked() && token_takers_ == 0, "the condition's lock is free");
    law(meeting_.waiting() == 0, "who was cancelled is as if it had not come");
    law(std::count(passed_.begin(), passed_.end(), passed_.front()) == parties_, "each round has each number once");
  }

  std::uint64_t const seed_;
  dice chance_;
  bool const may_shut_down_;
  shop<fibers::queue<parcel>> first_;
  shop<fibers::lifo_queue<parcel>> last_;
  shop<fibers::priority_queue<parcel>> least_;
  int choosers_ = 0;
  std::vector<unsigned> kinds_;  // of steps
  int const permits_;
  fibers::semaphore free_;
  int held_ = 0, acquirers_ = 0;
  fibers::mutex mutex_;
  int owners_ = 0, lockers_ = 0;
  fibers::shared_mutex shared_;
  int writers_ = 0, readers_ = 0, sharers_ = 0;
  fibers::mutex tokens_mutex_;
  fibers::condition_variable changed_;
  int tokens_ = 0, token_takers_ = 0;
  int const parties_;
  fibers::barrier meeting_;
  std::vector<int> passed_;
  int comers_ = 0;
  fibers::event event_;
  int event_waiters_ = 0;
  bool over_ = false;
  std::vector<fibers::task<void>> tasks_;  // the last member: they use the others
};

std::uint64_t number_of(char const* variable, std::uint64_t otherwise) {
  char const* const text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace

TEST_CASE_METHOD(fibers::testing::virtual_time, "conservation: whatever tasks do, nothing is lost, doubled or stuck",
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
