// SPDX-License-Identifier: BSL-1.0

// The protocols between threads, in all their interleavings; and faults that were planted, to see that they are found.

#include <cstdlib>
#include <fibers/condition_variable.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/event.hpp>
#include <fibers/get_any.hpp>
#include <fibers/mutex.hpp>
#include <fibers/queue.hpp>
#include <fibers/run.hpp>
#include <fibers/semaphore.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>

#include "catch.hpp"
#include "explorer.hpp"
#include "fibers/detail/parts/inbox.hpp"
#include "fibers/detail/parts/thread_parker.hpp"

using fibers::cancelled_error;
using fibers::event;
using fibers::spawn;
using fibers::task;
using fibers::task_handle;
using fibers::testing::bounds;
using fibers::testing::exploration;
using fibers::testing::explore;
using fibers::testing::interleave;
using fibers::testing::scenario;
namespace detail = fibers::detail;

namespace {

using maker = std::function<scenario()>;

/// Says how many interleavings were covered; with FIBERS_INTERLEAVING, runs that one.
void check(char const* name, maker const& make, bounds limit = {}) {
  if (auto const* const number = std::getenv("FIBERS_INTERLEAVING")) {
    auto const one = fibers::testing::repeat(make, std::strtoull(number, nullptr, 10));
    std::cout << name << ": interleaving " << one.number << ": " << (one.problem.empty() ? "right" : one.problem)
              << "\n"
              << one.schedule;
    CHECK(one.problem == "");
    return;
  }
  auto const found = explore(make, limit);
  std::cout << name << ": " << found.interleavings << " interleavings: all with at most " << limit.departures
            << " departures, and " << limit.at_random << " at random" << std::endl;
  INFO("to repeat it: FIBERS_INTERLEAVING=" << found.number << "\n" << found.schedule);
  CHECK(found.problem == "");
}

/// The fault is found, and its number leads to it again.
void check_planted(char const* fault, maker const& make, std::string const& problem) {
  detail::explored::plant(fault);
  auto const found = explore(make);
  auto const again = fibers::testing::repeat(make, found.number);
  detail::explored::plant(nullptr);
  std::cout << "planted: " << fault << ": found in interleaving " << found.interleavings << ": " << found.problem
            << "\n"
            << found.schedule;
  CHECK_THAT(found.problem, Catch::Matchers::ContainsSubstring(problem));
  CHECK(again.problem == found.problem);
  CHECK(again.schedule == found.schedule);
}

// --- claim ---

// Two parties want to end one wait.
scenario two_claims() {
  struct shared {
    detail::task_ptr task = detail::make_task([] {});
    detail::plain_waiter waiter{*task, here};
    int claimed[2] = {};
    boost::source_location here = BOOST_CURRENT_LOCATION;
  };
  auto const s = std::make_shared<shared>();
  auto const claimer = [s](int me, detail::claim why) {
    return [s, me, why] { interleave([&] { s->claimed[me] = s->waiter.try_claim(why); }); };
  };
  return {.threads = {claimer(0, detail::claim::notified), claimer(1, detail::claim::cancelled)}, .problem = [s] {
            return s->claimed[0] + s->claimed[1] == 1 ? std::string()
                                                      : std::to_string(s->claimed[0] + s->claimed[1]) + " claims";
          }};
}

// --- inbox and parking ---

// A loop's thread sleeps until it has read all entries; posters post one each.
template <int posters>
scenario posts() {
  struct shared {
    detail::thread_parker parker;
    detail::inbox inbox{parker};
    detail::inbox_entry entries[posters];
    int shares = 0;
    int read = 0;
  };
  auto const s = std::make_shared<shared>();
  scenario made;
  made.threads.push_back([s] {
    interleave([&] {
      while (s->read < posters) {
        s->inbox.sleep(fibers::time_point::max());
        s->inbox.drain([&](detail::inbox_entry&, std::uint8_t) { ++s->read; });
      }
    });
  });
  for (int i = 0; i < posters; ++i) {
    made.threads.push_back([s, i] {
      interleave([&] { s->inbox.post(s->entries[i], detail::inbox_entry::woken, [&] { ++s->shares; }); });
    });
  }
  made.problem = [s] { return s->shares == s->read ? std::string() : "an entry was read twice"; };
  return made;
}

// --- loops ---

/// What happens in a run() of its own.
std::function<void()> loop(std::function<void()> body) {
  return [body = std::move(body)] { fibers::run(body); };
}

// A task waits for an event that another thread sets, and destroys it when it is woken.
scenario event_destroyed_by_the_woken_task() {
  struct shared {
    std::optional<event> ready{std::in_place};
    bool woken = false;
  };
  auto const s = std::make_shared<shared>();
  return {.threads = {loop([s] {
                        interleave([&] {
                          s->ready->wait();
                          s->ready.reset();
                          s->woken = true;
                        });
                      }),
                      [s] { interleave([&] { s->ready->set(); }); }},
          .problem = [s] { return s->woken ? std::string() : "not woken"; }};
}

// The waiters of two loops are woken, and one destroys the event.
scenario event_destroyed_by_one_of_two() {
  struct shared {
    std::optional<event> ready{std::in_place};
    bool woken[2] = {};
  };
  auto const s = std::make_shared<shared>();
  auto const waiter_loop = [s](int me, auto then) {
    return loop([s, me, then] {
      auto waiting = spawn([s, me] {
        s->ready->wait();
        s->woken[me] = true;
      });
      fibers::this_task::yield();
      interleave([&] {
        waiting.wait();
        then();
      });
    });
  };
  return {.threads = {waiter_loop(0, [] {}), waiter_loop(1, [s] { s->ready.reset(); }),
                      [s] { interleave([&] { s->ready->set(); }); }},
          .problem = [s] { return s->woken[0] && s->woken[1] ? std::string() : "not both are woken"; }};
}

// As before, while a waiter of a third loop is cancelled.
scenario event_destroyed_during_a_cancellation() {
  struct shared {
    std::optional<event> ready{std::in_place};
    int ended = 0;
  };
  auto const s = std::make_shared<shared>();
  return {.threads = {loop([s] {
                        auto waiting = spawn([s] { s->ready->wait(); });
                        fibers::this_task::yield();
                        interleave([&] {
                          waiting.wait();
                          s->ready.reset();
                        });
                        s->ended += 1;
                      }),
                      loop([s] {
                        auto waiting = spawn([s] { s->ready->wait(); });
                        fibers::this_task::yield();
                        interleave([&] {
                          waiting.cancel();
                          waiting.wait();
                        });
                        s->ended += 1;
                      }),
                      [s] { interleave([&] { s->ready->set(); }); }},
          .problem = [s] { return s->ended == 2 ? std::string() : "a waiter did not end"; }};
}

// A task of another loop is cancelled while it is handed an item: the item is with it, or still in the queue.
scenario item_handed_over_during_a_cancellation() {
  struct shared {
    fibers::queue<int> items;
    std::optional<task_handle<int>> getter;
    int got = 0;
    bool cancelled = false;
  };
  auto const s = std::make_shared<shared>();
  return {.threads = {loop([s] {
                        auto getting = spawn([s] { return s->items.get(); });
                        s->getter = getting.handle();
                        fibers::this_task::yield();
                        interleave([&] {
                          try {
                            s->got = getting.get();
                          } catch (cancelled_error const&) {
                            s->cancelled = true;
                          }
                        });
                      }),
                      [s] { interleave([&] { s->getter->cancel(); }); },
                      [s] { interleave([&] { s->items.put_nowait(7); }); }},
          .problem = [s] {
            s->getter.reset();
            auto const left = s->items.size();
            if (s->cancelled && left == 1) return std::string();
            if (!s->cancelled && s->got == 7 && left == 0) return std::string();
            return "got " + std::to_string(s->got) + ", " + std::to_string(left) + " left";
          }};
}

// Two loops lock one mutex.
scenario mutex_of_two_loops() {
  struct shared {
    std::optional<fibers::mutex> mutex{std::in_place};
    int inside = 0;
    int most = 0;
    int times = 0;
  };
  auto const s = std::make_shared<shared>();
  auto const locking = loop([s] {
    interleave([&] {
      s->mutex->lock();
      s->most = std::max(s->most, ++s->inside);
      ++s->times;
      --s->inside;
      s->mutex->unlock();
    });
  });
  return {.threads = {locking, locking}, .problem = [s] {
            s->mutex.reset();
            return s->most == 1 && s->times == 2 ? std::string() : "both were inside";
          }};
}

// A task waits for one of another loop.
scenario join_across_loops() {
  struct shared {
    std::optional<task_handle<int>> other;
    int result = 0;
    event ready;
  };
  auto const s = std::make_shared<shared>();
  return {.threads = {loop([s] {
                        auto counted = spawn([] { return 7; });
                        s->other = counted.handle();
                        interleave([&] { counted.wait(); });
                      }),
                      loop([s] { interleave([&] { s->result = s->other->get(); }); })},
          .problem = [s] { return s->result == 7 ? std::string() : "no result"; }};
}

// A task of another loop is cancelled as it waits, and once more as it ends.
scenario cancel_across_loops() {
  struct shared {
    std::optional<task_handle<void>> waiting;
    event never;
    bool cancelled = false;
  };
  auto const s = std::make_shared<shared>();
  auto const canceller = [s] { interleave([&] { s->waiting->cancel(); }); };
  return {.threads = {loop([s] {
                        auto waiting = spawn([s] { s->never.wait(); });
                        s->waiting = waiting.handle();
                        interleave([&] {
                          waiting.wait();
                          s->cancelled = waiting.cancelled();
                        });
                      }),
                      canceller, canceller},
          .problem = [s] {
            s->waiting.reset();
            return s->cancelled ? std::string() : "not cancelled";
          }};
}

// A request to a task that waits for one of another loop is forwarded there.
scenario request_forwarded_across_loops() {
  struct shared {
    std::optional<task_handle<void>> inner;
    std::optional<task_handle<void>> outer;
    event never;
    bool both = false;
  };
  auto const s = std::make_shared<shared>();
  return {.threads = {loop([s] {
                        auto inner = spawn([s] { s->never.wait(); });
                        s->inner = inner.handle();
                        fibers::this_task::yield();
                        interleave([&] { inner.wait(); });
                        s->both = inner.cancelled();
                      }),
                      loop([s] {
                        auto outer = spawn([s] { s->inner->get(); });
                        s->outer = outer.handle();
                        fibers::this_task::yield();
                        interleave([&] { outer.wait(); });
                        s->both = s->both && outer.cancelled();
                      }),
                      [s] { interleave([&] { s->outer->cancel(); }); }},
          .problem = [s] {
            s->outer.reset();
            s->inner.reset();
            return s->both ? std::string() : "not both are cancelled";
          }};
}

// One permit, for two waiters of two loops, of which one is cancelled.
scenario permit_released_during_a_cancellation() {
  struct shared {
    fibers::semaphore permits{0};
    std::optional<task_handle<void>> first;
    int acquired = 0;
  };
  auto const s = std::make_shared<shared>();
  return {.threads = {loop([s] {
                        auto acquiring = spawn([s] { s->permits.acquire(); });
                        s->first = acquiring.handle();
                        fibers::this_task::yield();
                        interleave([&] {
                          acquiring.wait();
                          if (!acquiring.cancelled()) s->permits.release();
                        });
                      }),
                      loop([s] {
                        interleave([&] { s->permits.acquire(); });
                        ++s->acquired;
                      }),
                      [s] {
                        interleave([&] {
                          s->first->cancel();
                          s->permits.release();
                        });
                      }},
          .problem = [s] {
            s->first.reset();
            return s->acquired == 1 ? std::string() : "the permit was lost";
          }};
}

// One notification for two waiters of two loops, of which one is cancelled.
scenario notification_during_a_cancellation() {
  struct shared {
    fibers::mutex mutex;
    fibers::condition_variable changed;
    std::optional<task_handle<void>> first;
    bool done = false;
  };
  auto const s = std::make_shared<shared>();
  auto const waiting = [s] {
    std::unique_lock lock(s->mutex);
    s->changed.wait(lock, [&] { return s->done; });
    s->changed.notify_one();
  };
  return {.threads = {loop([s, waiting] {
                        auto first = spawn(waiting);
                        s->first = first.handle();
                        fibers::this_task::yield();
                        interleave([&] { first.wait(); });
                      }),
                      loop([s, waiting] {
                        auto second = spawn(waiting);
                        fibers::this_task::yield();
                        interleave([&] { second.wait(); });
                      }),
                      loop([s] {
                        interleave([&] {
                          s->first->cancel();
                          s->mutex.lock();
                          s->done = true;
                          s->changed.notify_one();
                          s->mutex.unlock();
                        });
                      })},
          .problem = [s] {
            s->first.reset();
            return std::string();  // a lost notification is a wait that never ends
          }};
}

// A task waits for an item of either of two queues, and each gets one: exactly one item is taken.
scenario item_of_either_queue() {
  struct shared {
    fibers::queue<int> left;
    fibers::queue<int> right;
    int got = 0;
  };
  auto const s = std::make_shared<shared>();
  return {.threads = {loop([s] {
                        auto getting = spawn(
                            [s] { std::visit([s](int item) { s->got = item; }, fibers::get_any(s->left, s->right)); });
                        fibers::this_task::yield();
                        interleave([&] { getting.get(); });
                      }),
                      [s] { interleave([&] { s->left.put_nowait(1); }); },
                      [s] { interleave([&] { s->right.put_nowait(2); }); }},
          .problem = [s] {
            auto const left = s->left.size() + s->right.size();
            return s->got != 0 && left == 1 ? std::string()
                                            : "got " + std::to_string(s->got) + ", " + std::to_string(left) + " left";
          }};
}

// A primitive is destroyed while a task of another loop waits in it.
scenario destroyed_with_a_waiter() {
  struct shared {
    std::optional<event> ready{std::in_place};
    std::optional<task_handle<void>> waiting;
    bool ended = false;
  };
  auto const s = std::make_shared<shared>();
  return {
      .threads = {loop([s] {
                    auto waiting = spawn([s] { s->ready->wait(); });
                    s->waiting = waiting.handle();
                    fibers::this_task::yield();
                    interleave([&] { waiting.wait(); });
                    s->ended = waiting.cancelled() || waiting.exception() != nullptr;
                  }),
                  [s] { interleave([&] { s->waiting->cancel(); }); }, [s] { interleave([&] { s->ready.reset(); }); }},
      .problem = [s] {
        s->waiting.reset();
        return s->ended ? std::string() : "the waiter did not fail";
      }};
}

}  // namespace

TEST_CASE("explored: exactly one party claims a wait") {
  check("two claims", two_claims, {.departures = 3});
  check_planted("double claim", two_claims, "2 claims");
}

TEST_CASE("explored: a loop that goes to sleep misses no post") {
  check("one post", posts<1>, {.departures = 3});
  check("two posts", posts<2>);
  check_planted("lost wake-up", posts<1>, "a wake-up was lost");
}

TEST_CASE("explored: a woken task may destroy the event") {
  check("event destroyed", event_destroyed_by_the_woken_task);
  check("event destroyed by one of two", event_destroyed_by_one_of_two);
  check_planted("lock after the wake", event_destroyed_by_one_of_two, "destroyed");
  check_planted("two critical sections", event_destroyed_by_the_woken_task, "lost");
}

TEST_CASE("explored: a woken task may destroy the event while a waiter of another loop is cancelled") {
  check("event destroyed during a cancellation", event_destroyed_during_a_cancellation);
  check_planted("destructor does not wait", event_destroyed_during_a_cancellation, "destroyed");
}

TEST_CASE("explored: a primitive is destroyed while a task of another loop waits in it and is cancelled") {
  check("destroyed with a waiter", destroyed_with_a_waiter);
}

TEST_CASE("explored: an item is handed over or stays while the task that waits for it is cancelled") {
  check("item handed over", item_handed_over_during_a_cancellation);
}

TEST_CASE("explored: a permit and a notification reach another waiter if the first is cancelled") {
  check("permit released", permit_released_during_a_cancellation);
  check("notification", notification_during_a_cancellation);
}

TEST_CASE("explored: get_any() takes exactly one item") { check("item of either queue", item_of_either_queue); }

TEST_CASE("explored: one task at a time holds a mutex") {
  check("mutex of two loops", mutex_of_two_loops, {.departures = 3});
}

TEST_CASE("explored: a task joins one of another loop") {
  check("join across loops", join_across_loops, {.departures = 3});
}

TEST_CASE("explored: a task of another loop is cancelled, and cancelled again") {
  check("cancel across loops", cancel_across_loops);
  check_planted("request without a post", cancel_across_loops, "a wake-up was lost");
}

TEST_CASE("explored: a request is forwarded to a task of another loop") {
  check("request forwarded", request_forwarded_across_loops);
}
