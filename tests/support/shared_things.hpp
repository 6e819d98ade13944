// SPDX-License-Identifier: BSL-1.0
#pragma once

// The things that the tasks of a random program share: queues, permits, locks, a condition, a barrier, an event; and
// the accounts of them. Whatever the tasks do, and whichever of them are cancelled, nothing may be lost or duplicated,
// and once no task can proceed, no task may wait for a free primitive.

#include <algorithm>
#include <cstddef>
#include <fibers/barrier.hpp>
#include <fibers/condition_variable.hpp>
#include <fibers/event.hpp>
#include <fibers/get_any.hpp>
#include <fibers/mutex.hpp>
#include <fibers/queue.hpp>
#include <fibers/semaphore.hpp>
#include <fibers/shared_mutex.hpp>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace fibers::testing {

/// The laws that this program violated.
inline std::vector<std::string> broken;

inline void law(bool holds, char const* what) {
  if (!holds) broken.emplace_back(what);
}

/// Statistics of all programs: a test in which nothing happens proves nothing.
inline std::map<std::string, int> happened;

/// Counts tasks inside a block.
class counted_in {
 public:
  explicit counted_in(int& count) : count_(++count) {}
  counted_in(counted_in const&) = delete;
  counted_in& operator=(counted_in const&) = delete;
  ~counted_in() { --count_; }

 private:
  int& count_;
};

/// Holds a place in a FIFO list, with the wanted amount.
template <class Wish>
class in_line {
 public:
  in_line(std::list<Wish>& line, Wish what) : line_(line), mine_(line.insert(line.end(), what)) {}
  in_line(in_line const&) = delete;
  in_line& operator=(in_line const&) = delete;
  ~in_line() { line_.erase(mine_); }

 private:
  std::list<Wish>& line_;
  typename std::list<Wish>::iterator const mine_;
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

// The user of the things is a player:
//   choose(n)    a number below n
//   wait(call)   calls a function that suspends, and returns its result
//   meanwhile()  acts while it holds a thing

/// A queue and its account.
template <class Queue>
struct shop {
  explicit shop(std::size_t capacity) : queue(capacity) {}

  template <class Player>
  void put(Player& player) {
    int const id = ++last_id;
    parcel item(id);
    try {
      player.wait([&] {
        counted_in const waiting(putters);
        queue.put(std::move(item));
      });
    } catch (...) {
      law(item.id == id, "an item that was not put is unchanged");
      throw;
    }
    in.push_back(id);
  }
  void try_put() {
    int const id = ++last_id;
    parcel item(id);
    bool const done = queue.try_put(std::move(item));
    law(item.id == (done ? 0 : id), "an item is moved exactly if it was put");
    if (done) in.push_back(id);
  }
  template <class Player>
  void get(Player& player) {
    auto const item = player.wait([&] {
      counted_in const waiting(getters);
      return queue.get();
    });
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
  template <class Player>
  void join(Player& player) {
    player.wait([&] {
      counted_in const waiting(joiners);
      queue.join();
    });
  }
  void shutdown(bool immediate) {
    if (immediate) dropped += queue.size();
    queue.shutdown(immediate);
    shut_down = true;
    ++happened["shutdowns"];
  }

  void check_at_rest() {
    law(getters == 0 || queue.empty(), "no task waits for an item while there are any");
    law(putters == 0 || queue.full(), "no task waits for room while there is any");
    law(getters == 0 || putters == 0, "no getter waits while a putter waits");
    law(joiners == 0 || queue.size() > 0, "no task waits in join() when all items are done");
    law(!shut_down || (getters == 0 && putters == 0), "no task waits at a queue that was shut down");
  }
  void check_books() {
    try {
      while (auto const item = queue.try_get()) out.push_back(item->id);
    } catch (queue_shut_down const&) {
    }
    law(in.size() == out.size() + dropped, "each item that was put was got, dropped or is in the queue");
    std::sort(in.begin(), in.end());
    std::sort(out.begin(), out.end());
    law(std::adjacent_find(out.begin(), out.end()) == out.end(), "no item is got twice");
    law(std::includes(in.begin(), in.end(), out.begin(), out.end()), "an item that was got had been put");
  }

  Queue queue;
  int last_id = 0;
  std::vector<int> in, out;
  std::size_t dropped = 0;
  bool shut_down = false;
  int getters = 0, putters = 0, joiners = 0;
};

class shared_things {
 public:
  template <class Choose>
  explicit shared_things(Choose choose)
      : may_shut_down_(choose(8) == 1),
        first_(choose(4)),
        last_(choose(4)),
        least_(choose(3) == 0 ? unbounded : 1 + choose(3)),
        permits_(1 + static_cast<int>(choose(4))),
        free_(permits_),
        parties_(1 + static_cast<int>(choose(3))),
        meeting_(parties_),
        passed_(static_cast<std::size_t>(parties_)) {
    // A program has few kinds, so that its tasks compete.
    for (auto count = 1 + choose(3); count > 0; --count) kinds_.push_back(choose(9));
  }

  /// Performs a step on one of the things.
  template <class Player>
  void step(Player& player) {
    switch (kinds_[player.choose(static_cast<unsigned>(kinds_.size()))]) {
      case 0:
        return trade(player, first_);
      case 1:
        return trade(player, last_);
      case 2:
        return trade(player, least_);
      case 3:
        return acquire(player);
      case 4:
        return lock(player);
      case 5:
        return player.choose(2) == 0 ? write(player) : read(player);
      case 6:
        return player.choose(2) == 0 ? take_token(player) : give_token(player);
      case 7:
        return meet(player);
      default:
        return event(player);
    }
  }

  /// Checks the laws between two moments at which tasks act.
  void check_at_rest() {
    first_.check_at_rest();
    last_.check_at_rest();
    least_.check_at_rest();
    law(choosers_ == 0 || (first_.queue.empty() && last_.queue.empty()),
        "no task waits in get_any() while there is an item");
    law(choosers_ == 0 || first_.putters + last_.putters == 0, "no task waits in get_any() while a putter waits");
    law(choosers_ == 0 || !first_.shut_down || !last_.shut_down,
        "no task waits in get_any() for queues that were shut down");
    law(held_ + free_.available() == permits_, "permits are held or free");
    law(acquirers_.empty() || acquirers_.front() > free_.available(),
        "the first waiter for permits wants more than are free");
    law(mutex_.is_locked() == (owners_ == 1), "a mutex is locked exactly if it has an owner");
    law(lockers_ == 0 || owners_ == 1, "no task waits for a free mutex");
    law(sharers_.empty() || writers_ > 0 || (readers_ > 0 && sharers_.front() == wish::alone),
        "the first to wait for a shared_mutex cannot have it");
    bool const free = shared_.try_lock();
    law(free == (readers_ + writers_ == 0), "a shared_mutex is locked exactly if it has an owner");
    if (free) shared_.unlock();
    law(token_takers_ == 0 || tokens_ == 0, "no task waits for a token while there are any");
    law(!tokens_mutex_.is_locked(), "no task holds the lock while it waits for a condition");
    law(comers_ < parties_ && static_cast<int>(meeting_.waiting()) == comers_,
        "fewer tasks wait at a barrier than it has parties");
    law(comers_ == 0 || !meeting_.broken(), "no task waits at a broken barrier");
    law(event_waiters_ == 0 || !event_.is_set(), "no task waits for a set event");
  }

  /// Checks the laws that hold when no task that holds a thing waits any more.
  void check_given_back() { law(held_ + owners_ + writers_ + readers_ == 0, "everything held is released"); }

  /// Checks the laws that hold when all tasks have ended.
  void check_books() {
    first_.check_books();
    last_.check_books();
    least_.check_books();
    check_given_back();
    law(free_.available() == permits_, "all permits are free");
    law(!mutex_.is_locked(), "the mutex is free");
    law(!tokens_mutex_.is_locked() && token_takers_ == 0, "the condition's lock is free");
    law(meeting_.waiting() == 0, "a cancelled party is not counted");
    law(std::count(passed_.begin(), passed_.end(), passed_.front()) == parties_, "each round has each index once");
  }

 private:
  template <class Player, class Queue>
  void trade(Player& player, shop<Queue>& s) {
    switch (player.choose(24)) {
      case 0:
        return s.try_put();
      case 1:
        return s.try_get();
      case 2:
        return s.join(player);
      case 3:
        if (may_shut_down_) s.shutdown(player.choose(2) == 0);
        return;
      case 4:
        return get_any(player);
      default:
        return player.choose(2) == 0 ? s.put(player) : s.get(player);
    }
  }

  template <class Player>
  void get_any(Player& player) {
    auto item = player.wait([&] {
      counted_in const waiting(choosers_);
      return fibers::get_any(first_.queue, last_.queue);
    });
    if (item.index() == 0) {
      first_.took(std::get<0>(item));
    } else {
      last_.took(std::get<1>(item));
    }
    ++happened["got from any"];
  }

  template <class Player>
  void acquire(Player& player) {
    int const wanted = 1 + static_cast<int>(player.choose(static_cast<unsigned>(permits_)));
    if (player.choose(4) > 0) {
      player.wait([&] {
        in_line const waiting(acquirers_, wanted);
        free_.acquire(wanted);
      });
    } else if (!free_.try_acquire(wanted)) {
      return;
    }
    held_ += wanted;
    law(held_ + free_.available() <= permits_, "no permit is acquired twice");
    hold(player, [&] {
      held_ -= wanted;
      free_.release(wanted);
    });
  }

  template <class Player>
  void lock(Player& player) {
    if (player.choose(4) > 0) {
      player.wait([&] {
        counted_in const waiting(lockers_);
        mutex_.lock();
      });
    } else if (!mutex_.try_lock()) {
      return;
    }
    law(++owners_ == 1, "a mutex has one owner");
    hold(player, [&] {
      --owners_;
      mutex_.unlock();
    });
  }

  template <class Player>
  void write(Player& player) {
    if (player.choose(4) > 0) {
      player.wait([&] {
        in_line const waiting(sharers_, wish::alone);
        shared_.lock();
      });
    } else if (!shared_.try_lock()) {
      return;
    }
    law(++writers_ == 1 && readers_ == 0, "a writer is alone");
    hold(player, [&] {
      --writers_;
      shared_.unlock();
    });
  }
  template <class Player>
  void read(Player& player) {
    if (player.choose(4) > 0) {
      player.wait([&] {
        in_line const waiting(sharers_, wish::shared);
        shared_.lock_shared();
      });
    } else if (!shared_.try_lock_shared()) {
      return;
    }
    ++readers_;
    law(writers_ == 0, "readers are without a writer");
    hold(player, [&] {
      --readers_;
      shared_.unlock_shared();
    });
  }

  template <class Player, class GiveBack>
  void hold(Player& player, GiveBack give_back) {
    try {
      player.meanwhile();
    } catch (...) {
      give_back();
      throw;
    }
    give_back();
  }

  template <class Player>
  void take_token(Player& player) {
    player.wait([&] {
      std::unique_lock guard(tokens_mutex_);
      counted_in const waiting(token_takers_);
      try {
        changed_.wait(guard, [&] { return tokens_ > 0; });
      } catch (...) {
        law(guard.owns_lock(), "the lock is held however a wait ends");
        throw;
      }
      --tokens_;
    });
    ++happened["tokens"];
  }
  template <class Player>
  void give_token(Player& player) {
    player.wait([&] {
      std::unique_lock guard(tokens_mutex_);
      ++tokens_;
      if (player.choose(2) == 0) guard.unlock();
      changed_.notify_one();
    });
  }

  template <class Player>
  void meet(Player& player) {
    if (player.choose(16) == 1) return player.choose(4) == 1 ? meeting_.abort() : meeting_.reset();
    auto const number = player.wait([&] {
      counted_in const waiting(comers_);
      return meeting_.arrive_and_wait();
    });
    ++passed_.at(number);
    ++happened["meetings"];
  }

  template <class Player>
  void event(Player& player) {
    switch (player.choose(4)) {
      case 0:
        return event_.set();
      case 1:
        return event_.clear();
      default:
        return player.wait([&] {
          counted_in const waiting(event_waiters_);
          event_.wait();
        });
    }
  }

  bool const may_shut_down_;
  shop<queue<parcel>> first_;
  shop<lifo_queue<parcel>> last_;
  shop<priority_queue<parcel>> least_;
  int choosers_ = 0;
  std::vector<unsigned> kinds_;  // of steps
  int const permits_;
  semaphore free_;
  int held_ = 0;
  std::list<int> acquirers_;  // the amount that each wants
  fibers::mutex mutex_;
  int owners_ = 0, lockers_ = 0;
  fibers::shared_mutex shared_;
  int writers_ = 0, readers_ = 0;
  enum class wish { alone, shared };
  std::list<wish> sharers_;
  fibers::mutex tokens_mutex_;
  condition_variable changed_;
  int tokens_ = 0, token_takers_ = 0;
  int const parties_;
  barrier meeting_;
  std::vector<int> passed_;
  int comers_ = 0;
  fibers::event event_;
  int event_waiters_ = 0;
};

}  // namespace fibers::testing
