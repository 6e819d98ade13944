// SPDX-License-Identifier: BSL-1.0

#include "explorer.hpp"

#include <sched.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fibers/detail/parts/atomic.hpp>
#include <memory>
#include <random>
#include <semaphore>
#include <string_view>
#include <thread>

#include "fibers/detail/parts/futex.hpp"

namespace fibers::testing {

namespace {

constexpr std::size_t most_steps = 20'000;
constexpr std::uint64_t at_random = std::uint64_t{1} << 63;
constexpr unsigned bits_per_departure = 20;  // 18 for the decision, 2 for the thread that was chosen

struct decision {
  unsigned chosen;
  unsigned options;
};

struct executed {
  unsigned thread;
  char const* operation;
  char const* file;
  int line;
};

enum class status : std::uint8_t { ready, yielded, parked, ended };

struct participant {
  std::binary_semaphore turn{0};
  status state = status::ready;
  void const* parked_on = nullptr;
  bool interleaved = false;
  bool arrived = false;
};

// One run of a scenario. Only the thread that has the baton touches it.
class execution {
 public:
  execution(scenario what, std::vector<decision> path, std::uint64_t number)
      : what_(std::move(what)), path_(std::move(path)), number_(number), random_(number) {
    for (std::size_t i = 0; i < what_.threads.size(); ++i) threads_.push_back(std::make_unique<participant>());
  }

  // Returns when all threads have ended, or one has found a problem. Its threads stand still for ever after a problem,
  // and so does what they use.
  static void run(std::shared_ptr<execution> const& self);

  std::string const& problem() const { return problem_; }
  std::vector<decision> const& path() const { return path_; }
  std::string schedule() const;

  void arrive(unsigned me);
  void leave(unsigned me) { threads_[me]->interleaved = false; }
  void step(unsigned me, char const* operation, char const* file, int line);
  void yield(unsigned me);
  void park(unsigned me, void const* word);
  void unpark(void const* word);
  [[noreturn]] void fail(std::string problem);

  static thread_local std::shared_ptr<execution> current;
  static thread_local unsigned thread_number;

 private:
  bool can_run(unsigned i) const { return threads_[i]->state == status::ready && (!threads_[i]->arrived || started_); }
  unsigned choose(unsigned options);
  void pass_baton(unsigned me);  // the thread cannot go on now
  void give_to(unsigned me, unsigned next);

  scenario what_;
  std::vector<decision> path_;
  std::size_t decided_ = 0;
  std::uint64_t const number_;
  std::minstd_rand random_;
  std::vector<std::unique_ptr<participant>> threads_;
  std::vector<executed> steps_;
  std::binary_semaphore over_{0};
  bool started_ = false;
  std::string problem_;
};

thread_local std::shared_ptr<execution> execution::current;
thread_local unsigned execution::thread_number = 0;

unsigned execution::choose(unsigned options) {
  if (options == 1) return 0;
  if ((number_ & at_random) != 0) return random_() % 8 == 0 ? static_cast<unsigned>(random_()) % options : 0;
  if (decided_ == path_.size()) path_.push_back({.chosen = 0, .options = options});
  auto& here = path_[decided_++];
  here.options = options;
  return std::min(here.chosen, options - 1);
}

void execution::give_to(unsigned me, unsigned next) {
  if (next == me) return;
  threads_[next]->turn.release();
  threads_[me]->turn.acquire();
}

void execution::pass_baton(unsigned me) {
  auto const count = static_cast<unsigned>(threads_.size());
  std::vector<unsigned> others;
  for (unsigned i = 1; i <= count; ++i) {
    if (can_run((me + i) % count)) others.push_back((me + i) % count);
  }
  if (others.empty()) {  // threads that only wait for a step of another one may go on if no other thread can
    for (auto& each : threads_) {
      if (each->state == status::yielded) each->state = status::ready;
    }
    for (unsigned i = 1; i <= count; ++i) {
      if (can_run((me + i) % count)) others.push_back((me + i) % count);
    }
  }
  if (others.empty()) {
    path_.resize(std::min(path_.size(), decided_), decision());
    bool const all = std::all_of(threads_.begin(), threads_.end(), [](auto& t) { return t->state == status::ended; });
    if (!all) fail("none of the threads can run again: a wake-up was lost");
    over_.release();
    return;
  }
  auto const next = others[choose(static_cast<unsigned>(others.size()))];
  if (threads_[me]->state == status::ended) {
    threads_[next]->turn.release();
  } else {
    give_to(me, next);
  }
}

void execution::step(unsigned me, char const* operation, char const* file, int line) {
  if (threads_[me]->interleaved) {
    std::vector<unsigned> options{me};
    for (unsigned i = 0; i < threads_.size(); ++i) {
      if (i != me && can_run(i)) options.push_back(i);
    }
    give_to(me, options[choose(static_cast<unsigned>(options.size()))]);
    steps_.push_back({me, operation, file, line});
    if (steps_.size() > most_steps) fail("the threads do not end");
  }
  for (auto& each : threads_) {
    if (each->state == status::yielded) each->state = status::ready;
  }
}

void execution::yield(unsigned me) {
  threads_[me]->state = status::yielded;
  pass_baton(me);
}

void execution::park(unsigned me, void const* word) {
  threads_[me]->state = status::parked;
  threads_[me]->parked_on = word;
  pass_baton(me);
}

void execution::unpark(void const* word) {
  for (auto& each : threads_) {
    if (each->state == status::parked && each->parked_on == word) each->state = status::ready;
  }
}

void execution::arrive(unsigned me) {
  threads_[me]->arrived = true;
  started_ = std::all_of(threads_.begin(), threads_.end(), [](auto& t) { return t->arrived; });
  if (started_) {
    for (auto& each : threads_) each->interleaved = true;
    give_to(me, 0);
  } else {
    pass_baton(me);
  }
}

void execution::fail(std::string problem) {
  problem_ = std::move(problem);
  over_.release();
  std::binary_semaphore never(0);
  for (;;) never.acquire();
}

void execution::run(std::shared_ptr<execution> const& self) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < self->threads_.size(); ++i) {
    threads.emplace_back([self, i] {
      self->threads_[i]->turn.acquire();
      execution::current = self;
      execution::thread_number = i;
      self->what_.threads[i]();
      execution::current = nullptr;
      self->threads_[i]->state = status::ended;
      self->pass_baton(i);
    });
  }
  self->threads_[0]->turn.release();
  self->over_.acquire();
  bool const failed = !self->problem_.empty();
  for (auto& thread : threads) {
    if (failed) {
      thread.detach();
    } else {
      thread.join();
    }
  }
  if (failed) {
    new std::shared_ptr<execution>(self);  // never destroyed
  } else {
    self->problem_ = self->what_.problem();
  }
}

std::string execution::schedule() const {
  std::string text;
  auto const name = [](executed const& each) {
    auto const* const slash = std::strrchr(each.file, '/');
    return std::string(slash != nullptr ? slash + 1 : each.file) + ":" + std::to_string(each.line) + " " +
           each.operation;
  };
  for (std::size_t i = 0; i < steps_.size();) {
    auto end = i;
    while (end < steps_.size() && steps_[end].thread == steps_[i].thread) ++end;
    text += "  thread " + std::to_string(steps_[i].thread + 1) + ": " + name(steps_[i]);
    if (end - i > 1) text += " .. " + name(steps_[end - 1]) + " (" + std::to_string(end - i) + " operations)";
    text += "\n";
    i = end;
  }
  return text;
}

// --- schedules and their numbers ---

std::uint64_t number_of(std::vector<decision> const& path) {
  std::uint64_t number = 0;
  unsigned shift = 0;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i].chosen == 0) continue;
    number |= ((static_cast<std::uint64_t>(i) << 2) | path[i].chosen) << shift;
    shift += bits_per_departure;
  }
  return number;
}

std::vector<decision> path_of(std::uint64_t number) {
  std::vector<decision> path;
  for (; number != 0; number >>= bits_per_departure) {
    auto const departure = number & ((1u << bits_per_departure) - 1);
    path.resize(static_cast<std::size_t>(departure >> 2) + 1, {.chosen = 0, .options = 1});
    path.back() = {.chosen = static_cast<unsigned>(departure & 3), .options = 4};
  }
  return path;
}

// The next one in depth-first order. False: there is none.
bool advance(std::vector<decision>& path, unsigned departures) {
  auto used = static_cast<unsigned>(std::count_if(path.begin(), path.end(), [](decision d) { return d.chosen != 0; }));
  for (; !path.empty(); path.pop_back()) {
    auto& last = path.back();
    if (last.chosen != 0) --used;
    if (last.chosen + 1 < std::min(last.options, 4u) && used < departures) {
      ++last.chosen;
      return true;
    }
  }
  return false;
}

std::uint64_t number_under_way = 0;

void report_abort(int) {
  std::fprintf(stderr, "aborted in an interleaving; to repeat it: FIBERS_INTERLEAVING=%llu\n",
               static_cast<unsigned long long>(number_under_way));
}

std::shared_ptr<execution> run(std::function<scenario()> const& make, std::vector<decision> path,
                               std::uint64_t number) {
  number_under_way = number;
  auto const one = std::make_shared<execution>(make(), std::move(path), number);
  execution::run(one);
  return one;
}

// One processor: the threads take turns anyway, and a turn passes three times as fast.
class one_processor {
 public:
  one_processor() {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
    previous_ = std::signal(SIGABRT, &report_abort);
  }
  one_processor(one_processor const&) = delete;
  one_processor& operator=(one_processor const&) = delete;
  ~one_processor() {
    ::sched_setaffinity(0, sizeof before_, &before_);
    std::signal(SIGABRT, previous_);
  }

 private:
  cpu_set_t before_{};
  void (*previous_)(int) = nullptr;
};

}  // namespace

void interleave(std::function<void()> const& f) {
  execution::current->arrive(execution::thread_number);
  f();
  execution::current->leave(execution::thread_number);
}

exploration repeat(std::function<scenario()> const& make, std::uint64_t number) {
  one_processor const here;
  auto const one = run(make, (number & at_random) != 0 ? std::vector<decision>() : path_of(number), number);
  return {.interleavings = 1, .problem = one->problem(), .number = number, .schedule = one->schedule()};
}

exploration explore(std::function<scenario()> const& make, bounds limit) {
  one_processor const here;
  exploration result;
  auto const failed = [&](execution const& one, std::uint64_t number) {
    ++result.interleavings;
    if (one.problem().empty()) return false;
    result.problem = one.problem();
    result.number = number;
    result.schedule = one.schedule();
    return true;
  };
  std::vector<decision> path;
  do {
    auto const one = run(make, path, number_of(path));
    path = one->path();
    if (failed(*one, number_of(path))) return result;
  } while (advance(path, limit.departures));
  for (unsigned seed = 0; seed < limit.at_random; ++seed) {
    if (failed(*run(make, {}, at_random | seed), at_random | seed)) return result;
  }
  return result;
}

}  // namespace fibers::testing

namespace fibers::detail {

namespace explored {

using fibers::testing::execution;

namespace {
char const* planted_fault = nullptr;
}

void plant(char const* fault) noexcept { planted_fault = fault; }
bool planted(char const* fault) noexcept {
  return planted_fault != nullptr && std::string_view(fault) == planted_fault;
}

void step(void const*, state const& of, char const* operation, char const* file, int line) noexcept {
  auto* const here = execution::current.get();
  if (here == nullptr) return;
  here->step(execution::thread_number, operation, file, line);
  if (*const_cast<state const volatile*>(&of) != state::alive) {
    here->fail(std::string(operation) + " of an object that was destroyed");
  }
}

void yield() noexcept {
  if (auto* const here = execution::current.get()) {
    here->yield(execution::thread_number);
  } else {
    std::this_thread::yield();
  }
}

}  // namespace explored

void wait_on(atomic<std::uint32_t>& word, std::uint32_t value, time_point) noexcept {
  if (word.load() == value) explored::execution::current->park(explored::execution::thread_number, &word);
}

void wake_one(atomic<std::uint32_t>& word) noexcept {
  if (auto* const here = explored::execution::current.get()) here->unpark(&word);
}

}  // namespace fibers::detail
