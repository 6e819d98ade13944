// SPDX-License-Identifier: BSL-1.0

// Shows whether the cost of an operation grows with the number of objects. Prints a table of nanoseconds of processor
// time per operation, for every primitive and scope, with 10, 1,000 and 100,000 waiters, tasks, items, callbacks or
// levels. Only rows marked O(log n) may grow, apart from cache misses, which cost some hundreds of nanoseconds per task
// at 100,000 tasks.
//
//   growth [NAME…]    only rows whose name contains one of the arguments

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fibers/fibers.hpp>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>
using namespace std::chrono_literals;

namespace {

using tasks = std::vector<fibers::task<void>>;
namespace this_task = fibers::this_task;

/// Measures the processor time of this thread between start() and stop().
class stopwatch {
 public:
  void start() { begin_ = now(); }
  void stop() { total_ += now() - begin_; }
  double total() const { return total_; }

 private:
  static double now() {
    timespec time = {};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  }
  double begin_ = 0, total_ = 0;
};

template <class F>
tasks spawn_many(int n, F body) {
  tasks spawned;
  spawned.reserve(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) spawned.push_back(fibers::spawn([body, i] { body(i); }));
  return spawned;
}

/// Spawns tasks and yields once, so that each of them runs until it waits.
template <class F>
tasks park(int n, F body) {
  auto parked = spawn_many(n, std::move(body));
  this_task::yield();
  return parked;
}

void join(tasks& all) {
  for (auto& each : all) each.wait();
}

/// Cancels waiters one by one and joins them: each leaves the wait list it is in.
template <class F>
void cancel_waiters(stopwatch& watch, int n, F wait) {
  auto waiters = park(n, [wait](int) { wait(); });
  watch.start();
  fibers::cancel_and_wait(waiters);
  watch.stop();
}

template <class Group>
void end_children(stopwatch& watch, int n, Group end) {
  fibers::event never;
  try {
    fibers::with_task_group([&](fibers::task_group& group) {
      for (int i = 0; i < n; ++i) group.spawn([&] { never.wait(); });
      this_task::yield();
      watch.start();
      end(group);
    });
  } catch (std::exception const&) {
  } catch (fibers::cancelled_error const&) {
  }
  watch.stop();
}

fibers::exception_group nest(int levels) {
  fibers::exception_group whole("m", {std::make_exception_ptr(1)});
  for (int i = 1; i < levels; ++i) whole = fibers::exception_group("m", {std::make_exception_ptr(whole)});
  return whole;
}

struct row {
  char const* name;
  std::function<void(stopwatch&, int)> measure;  // n operations, within a task
};

std::vector<row> const rows = {
    // --- tasks ---
    {"spawn and wait, one by one",
     [](stopwatch& watch, int n) {
       watch.start();
       for (int i = 0; i < n; ++i) fibers::spawn([] {}).wait();
       watch.stop();
     }},
    {"spawn n, then wait for all",
     [](stopwatch& watch, int n) {
       watch.start();
       auto all = spawn_many(n, [](int) {});
       join(all);
       watch.stop();
     }},
    {"yield, n tasks are ready",
     [](stopwatch& watch, int n) {
       auto all = park(n, [](int) { this_task::yield(); });
       watch.start();
       this_task::yield();
       watch.stop();
     }},
    {"task::wait, n wait for one task",
     [](stopwatch& watch, int n) {
       fibers::event end;
       auto const one = fibers::spawn([&] { end.wait(); });
       auto waiters = park(n, [&](int) { one.handle().wait(); });
       watch.start();
       end.set();
       join(waiters);
       watch.stop();
     }},
    {"task::wait, n of them cancelled", [](stopwatch& watch, int n) {
       fibers::event end;
       auto const one = fibers::spawn([&] { end.wait(); });
       cancel_waiters(watch, n, [&] { one.handle().wait(); });
     }},
    {"task::on_done",
     [](stopwatch& watch, int n) {
       auto const one = fibers::spawn([] {});
       watch.start();
       for (int i = 0; i < n; ++i) one.on_done([] {});
       one.wait();
       this_task::yield();
       watch.stop();
     }},
    {"callback_handle::remove",
     [](stopwatch& watch, int n) {
       auto const one = fibers::spawn([] {});
       std::vector<fibers::callback_handle> handles;
       for (int i = 0; i < n; ++i) handles.push_back(one.on_done([] {}));
       watch.start();
       for (auto& each : handles) each.remove();
       watch.stop();
     }},
    {"task_local::get, of n variables  O(log n)",
     [](stopwatch& watch, int n) {
       std::vector<std::unique_ptr<fibers::task_local<int>>> variables;
       for (int i = 0; i < n; ++i) variables.push_back(std::make_unique<fibers::task_local<int>>());
       for (auto& each : variables) each->set(1);
       watch.start();
       for (auto& each : variables) each->get();
       watch.stop();
     }},
    {"spawn, with n task_locals",
     [](stopwatch& watch, int n) {
       std::vector<std::unique_ptr<fibers::task_local<int>>> variables;
       for (int i = 0; i < n; ++i) variables.push_back(std::make_unique<fibers::task_local<int>>());
       for (auto& each : variables) each->set(1);
       watch.start();
       for (int i = 0; i < n; ++i) fibers::spawn([] {}).wait();
       watch.stop();
     }},
    {"sleep_for, n times mixed  O(log n)",
     [](stopwatch& watch, int n) {
       watch.start();
       auto all = spawn_many(n, [](int i) { fibers::sleep_for(std::chrono::nanoseconds(i * 7919L % 1000)); });
       join(all);
       watch.stop();
     }},
    {"sleep_for, n of them cancelled",
     [](stopwatch& watch, int n) { cancel_waiters(watch, n, [] { fibers::sleep_for(1h); }); }},
    {"get, a chain of n, cancelled at its end",
     [](stopwatch& watch, int n) {
       fibers::event never;
       std::vector<fibers::task_handle<>> chain{fibers::spawn([&] { never.wait(); }).detach()};
       for (int i = 0; i < n; ++i) chain.push_back(fibers::spawn([next = chain.back()] { next.get(); }).detach());
       this_task::yield();
       watch.start();
       fibers::cancel_and_wait(chain);
       watch.stop();
     }},
    // --- scopes ---
    {"with_timeout, n of them at once",
     [](stopwatch& watch, int n) {
       fibers::event end;
       auto all = park(n, [&](int) { fibers::with_timeout(1h, [&] { end.wait(); }); });
       watch.start();
       end.set();
       join(all);
       watch.stop();
     }},
    {"with_timeout, n fire  O(log n)",
     [](stopwatch& watch, int n) {
       watch.start();
       auto all = spawn_many(n, [&](int i) {
         fibers::move_on_after(std::chrono::nanoseconds(i * 7919L % 1000), [] { fibers::sleep_for(1h); });
       });
       join(all);
       watch.stop();
     }},
    {"shield(task), n wait for one",
     [](stopwatch& watch, int n) {
       fibers::event end;
       auto const one = fibers::spawn([&] { end.wait(); }).detach();
       auto waiters = park(n, [&](int) { fibers::shield(one); });
       watch.start();
       end.set();
       join(waiters);
       watch.stop();
     }},
    {"task_group, n children return",
     [](stopwatch& watch, int n) {
       watch.start();
       fibers::with_task_group([&](fibers::task_group& group) {
         for (int i = 0; i < n; ++i) group.spawn([] {});
       });
       watch.stop();
     }},
    {"task_group::cancel_all",
     [](stopwatch& watch, int n) { end_children(watch, n, [](fibers::task_group& group) { group.cancel_all(); }); }},
    {"task_group::stop",
     [](stopwatch& watch, int n) { end_children(watch, n, [](fibers::task_group& group) { group.stop(); }); }},
    {"task_group, n are cancelled since one fails",
     [](stopwatch& watch, int n) {
       end_children(watch, n, [](fibers::task_group& group) { group.spawn([] { throw 1; }); });
     }},
    {"task_group, n fail",
     [](stopwatch& watch, int n) {
       watch.start();
       end_children(watch, 0, [n](fibers::task_group& group) {
         for (int i = 0; i < n; ++i) group.spawn([] { throw 1; });
       });
       watch.stop();
     }},
    {"gather, n callables",
     [](stopwatch& watch, int n) {
       std::vector<std::function<void()>> callables(static_cast<std::size_t>(n), [] { this_task::yield(); });
       watch.start();
       fibers::gather(callables);
       watch.stop();
     }},
    {"gather, n tasks",
     [](stopwatch& watch, int n) {
       auto all = park(n, [](int) { this_task::yield(); });
       watch.start();
       fibers::gather(all);
       watch.stop();
     }},
    {"gather, n tasks cancelled through it",
     [](stopwatch& watch, int n) {
       fibers::event never;
       auto all = park(n, [&](int) { never.wait(); });
       auto gathering = fibers::spawn([&] { fibers::gather(all); });
       this_task::yield();
       watch.start();
       gathering.cancel_and_wait();
       join(all);
       watch.stop();
     }},
    {"wait for n tasks",
     [](stopwatch& watch, int n) {
       auto all = park(n, [](int) { this_task::yield(); });
       watch.start();
       fibers::wait(all);
       watch.stop();
     }},
    {"cancel_and_wait for n tasks",
     [](stopwatch& watch, int n) { cancel_waiters(watch, n, [] { fibers::sleep_for(fibers::no_timeout); }); }},
    {"as_completed",
     [](stopwatch& watch, int n) {
       auto all = park(n, [](int) { this_task::yield(); });
       watch.start();
       for (auto const& each : fibers::as_completed(all)) each.get();
       watch.stop();
     }},
    {"for_each_concurrent, 10 at a time",
     [](stopwatch& watch, int n) {
       std::vector<int> elements(static_cast<std::size_t>(n));
       watch.start();
       fibers::for_each_concurrent(elements, 10, [](int) { this_task::yield(); });
       watch.stop();
     }},
    {"for_each_concurrent, n at a time",
     [](stopwatch& watch, int n) {
       std::vector<int> elements(static_cast<std::size_t>(n));
       watch.start();
       fibers::for_each_concurrent(elements, elements.size(), [](int) { this_task::yield(); });
       watch.stop();
     }},
    {"race of 2, n of them at once",
     [](stopwatch& watch, int n) {
       watch.start();
       auto all = spawn_many(n, [](int) { fibers::race([] { this_task::yield(); }, [] { fibers::sleep_for(1h); }); });
       join(all);
       watch.stop();
     }},
    {"exception_group, nested n deep",
     [](stopwatch& watch, int n) {
       watch.start();
       {
         auto const whole = nest(n);
         whole.leaves();
         whole.split<int>();
       }
       watch.stop();
     }},
    {"exception_group of n, made and split",
     [](stopwatch& watch, int n) {
       std::vector<std::exception_ptr> errors;
       for (int i = 0; i < n; ++i) errors.push_back(i % 2 == 0 ? std::make_exception_ptr(1) : std::make_exception_ptr('a'));
       watch.start();
       fibers::exception_group("m", std::move(errors)).split<int>();
       watch.stop();
     }},
    // --- primitives ---
    {"event::set, n wait",
     [](stopwatch& watch, int n) {
       fibers::event event;
       auto waiters = park(n, [&](int) { event.wait(); });
       watch.start();
       event.set();
       join(waiters);
       watch.stop();
     }},
    {"event, n waiters cancelled",
     [](stopwatch& watch, int n) {
       fibers::event event;
       cancel_waiters(watch, n, [&] { event.wait(); });
     }},
    {"mutex, handed over by n",
     [](stopwatch& watch, int n) {
       fibers::mutex mutex;
       mutex.lock();
       auto waiters = park(n, [&](int) { std::lock_guard const guard(mutex); });
       watch.start();
       mutex.unlock();
       join(waiters);
       watch.stop();
     }},
    {"mutex, n waiters cancelled",
     [](stopwatch& watch, int n) {
       fibers::mutex mutex;
       std::lock_guard const guard(mutex);
       cancel_waiters(watch, n, [&] { std::lock_guard const never(mutex); });
     }},
    {"shared_mutex, handed over by n",
     [](stopwatch& watch, int n) {
       fibers::shared_mutex mutex;
       mutex.lock();
       auto waiters = park(n, [&](int i) {
         if (i % 2 == 0) {
           std::lock_guard const guard(mutex);
         } else {
           mutex.lock_shared();
           mutex.unlock_shared();
         }
       });
       watch.start();
       mutex.unlock();
       join(waiters);
       watch.stop();
     }},
    {"shared_mutex, n cancelled which then try",
     [](stopwatch& watch, int n) {
       fibers::shared_mutex mutex;
       mutex.lock_shared();
       cancel_waiters(watch, n, [&] {
         try {
           mutex.lock();
         } catch (fibers::cancelled_error const&) {
           if (mutex.try_lock_shared()) mutex.unlock_shared();
           throw;
         }
       });
       mutex.unlock_shared();
     }},
    {"semaphore::release, n wait",
     [](stopwatch& watch, int n) {
       fibers::semaphore semaphore(0);
       auto waiters = park(n, [&](int) { semaphore.acquire(); });
       watch.start();
       for (int i = 0; i < n; ++i) semaphore.release();
       join(waiters);
       watch.stop();
     }},
    {"semaphore, n cancelled which then try",
     [](stopwatch& watch, int n) {
       fibers::semaphore semaphore(1);
       cancel_waiters(watch, n, [&] {
         try {
           semaphore.acquire(2);
         } catch (fibers::cancelled_error const&) {
           if (semaphore.try_acquire()) semaphore.release();
           throw;
         }
       });
     }},
    {"condition_variable::notify_one, n wait",
     [](stopwatch& watch, int n) {
       fibers::mutex mutex;
       fibers::condition_variable condition;
       auto waiters = park(n, [&](int) {
         std::unique_lock lock(mutex);
         condition.wait(lock);
       });
       watch.start();
       for (int i = 0; i < n; ++i) condition.notify_one();
       join(waiters);
       watch.stop();
     }},
    {"condition_variable::notify_all, n wait",
     [](stopwatch& watch, int n) {
       fibers::mutex mutex;
       fibers::condition_variable condition;
       auto waiters = park(n, [&](int) {
         std::unique_lock lock(mutex);
         condition.wait(lock);
       });
       watch.start();
       condition.notify_all();
       join(waiters);
       watch.stop();
     }},
    {"barrier, n parties",
     [](stopwatch& watch, int n) {
       fibers::barrier barrier(n);
       watch.start();
       auto all = spawn_many(n, [&](int) { barrier.arrive_and_wait(); });
       join(all);
       watch.stop();
     }},
    {"barrier::waiting, n wait",
     [](stopwatch& watch, int n) {
       fibers::barrier barrier(n + 1);
       auto all = park(n, [&](int) { barrier.arrive_and_wait(); });
       watch.start();
       for (int i = 0; i < n; ++i) static_cast<void>(barrier.waiting());
       watch.stop();
       barrier.arrive_and_wait();
       join(all);
     }},
    {"barrier, n waiters cancelled",
     [](stopwatch& watch, int n) {
       fibers::barrier barrier(n + 1);
       cancel_waiters(watch, n, [&] { barrier.arrive_and_wait(); });
     }},
    {"latch, n count down and wait",
     [](stopwatch& watch, int n) {
       fibers::latch latch(n);
       watch.start();
       auto all = spawn_many(n, [&](int) { latch.arrive_and_wait(); });
       join(all);
       watch.stop();
     }},
    {"queue, n items put and got",
     [](stopwatch& watch, int n) {
       fibers::queue<int> queue;
       watch.start();
       for (int i = 0; i < n; ++i) queue.put(i);
       for (int i = 0; i < n; ++i) queue.get();
       watch.stop();
     }},
    {"queue::put, n wait to get",
     [](stopwatch& watch, int n) {
       fibers::queue<int> queue;
       auto getters = park(n, [&](int) { queue.get(); });
       watch.start();
       for (int i = 0; i < n; ++i) queue.put(i);
       join(getters);
       watch.stop();
     }},
    {"queue::get, n wait to put",
     [](stopwatch& watch, int n) {
       fibers::queue<int> queue(1);
       auto putters = park(n, [&](int i) { queue.put(i); });
       watch.start();
       for (int i = 0; i < n; ++i) queue.get();
       join(putters);
       watch.stop();
     }},
    {"queue of 0, n wait to put",
     [](stopwatch& watch, int n) {
       fibers::queue<int> queue(0);
       auto putters = park(n, [&](int i) { queue.put(i); });
       watch.start();
       for (int i = 0; i < n; ++i) queue.get();
       join(putters);
       watch.stop();
     }},
    {"queue, n getters cancelled",
     [](stopwatch& watch, int n) {
       fibers::queue<int> queue;
       cancel_waiters(watch, n, [&] { queue.get(); });
     }},
    {"queue::shutdown, n wait to get",
     [](stopwatch& watch, int n) {
       fibers::queue<int> queue;
       auto getters = park(n, [&](int) {
         for ([[maybe_unused]] auto const item : queue) {
         }
       });
       watch.start();
       queue.shutdown();
       join(getters);
       watch.stop();
     }},
    {"queue::task_done, n items",
     [](stopwatch& watch, int n) {
       fibers::queue<int> queue;
       auto joiner = park(1, [&](int) { queue.join(); });
       for (int i = 0; i < n; ++i) queue.put(i);
       watch.start();
       for (int i = 0; i < n; ++i) queue.task_done();
       watch.stop();
     }},
    {"lifo_queue, n items put and got",
     [](stopwatch& watch, int n) {
       fibers::lifo_queue<int> queue;
       watch.start();
       for (int i = 0; i < n; ++i) queue.put(i);
       for (int i = 0; i < n; ++i) queue.get();
       watch.stop();
     }},
    {"priority_queue, n items put and got  O(log n)",
     [](stopwatch& watch, int n) {
       fibers::priority_queue<int> queue;
       watch.start();
       for (int i = 0; i < n; ++i) queue.put(static_cast<int>(i * 7919L % n));
       for (int i = 0; i < n; ++i) queue.get();
       watch.stop();
     }},
    {"get_any of 2, n wait",
     [](stopwatch& watch, int n) {
       fibers::queue<int> first, second;
       auto getters = park(n, [&](int) { fibers::get_any(first, second); });
       watch.start();
       for (int i = 0; i < n; ++i) (i % 2 == 0 ? first : second).put(i);
       join(getters);
       watch.stop();
     }},
};

// Returns the minimum of several rounds, after one round that warms up.
template <class Round>
double least_of(int n, Round round) {
  double least = std::numeric_limits<double>::max();
  for (int i = 0, rounds = std::clamp(2'000 / n, 1, 100); i <= rounds; ++i) {
    auto const nanoseconds = round();
    if (i > 0) least = std::min(least, nanoseconds / n);
  }
  return least;
}

double measure(row const& each, int n) {
  return least_of(n, [&] {
    stopwatch watch;
    each.measure(watch, n);
    return watch.total();
  });
}

constexpr auto virtual_time = fibers::clock_kind::virtual_time;  // a sleep costs no system call

double measure_end_of_run(int n) {
  return least_of(n, [&] {
    stopwatch watch;
    fibers::run({.clock = virtual_time}, [&] {
      for (int i = 0; i < n; ++i) fibers::spawn([] { fibers::sleep_for(1h); }).detach();
      this_task::yield();
      watch.start();
    });
    watch.stop();
    return watch.total();
  });
}

void print(char const* name, std::function<double(int)> const& cost_of) {
  constexpr double too_long = 20e9;  // ns: a row that would take longer is not measured
  std::printf("%-45s", name);
  double before = 0, cost = 0;
  for (int const n : {10, 1'000, 100'000}) {
    double const growth = before > 0 ? std::max(1.0, cost / before) : 1;
    if (cost * growth * n > too_long) {
      std::printf(" %10s", "grows");
      break;
    }
    before = std::exchange(cost, cost_of(n));
    std::printf(" %10.0f", cost);
    std::fflush(stdout);
  }
  std::printf("\n");
}

bool is_wanted(std::string_view name, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (name.find(argv[i]) != std::string_view::npos) return true;
  }
  return argc == 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::printf("%-45s %10s %10s %10s\n", "ns of processor time each, of n", "10", "1,000", "100,000");
  fibers::run({.clock = virtual_time}, [&] {
    {  // touches all stacks once: the first touch of their memory costs more than any measured operation
      fibers::event end;
      auto all = park(100'000, [&](int) { end.wait(); });
      end.set();
      join(all);
    }
    for (auto const& each : rows) {
      if (is_wanted(each.name, argc, argv)) print(each.name, [&](int n) { return measure(each, n); });
    }
  });
  constexpr auto end_of_run = "end of run(), n tasks are left";
  if (is_wanted(end_of_run, argc, argv)) print(end_of_run, measure_end_of_run);
}
