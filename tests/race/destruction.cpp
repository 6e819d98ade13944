// SPDX-License-Identifier: BSL-1.0

// A task destroys a primitive as soon as its header allows it, while on other threads a call that woke the task has not
// returned, and a waiter of another loop is being woken, cancelled or timed out. The sanitizers detect accesses after
// the destruction; the test counts that each wait ended.

#include <atomic>
#include <cstring>
#include <fibers/fibers.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::spawn;
namespace this_task = fibers::this_task;

namespace {

// Pattern for memory that is reused.
template <class T>
struct poison {
  void operator()(T* object) const {
    object->~T();
    std::memset(static_cast<void*>(object), 0xdd, sizeof(T));
    ::operator delete(object);
  }
};
template <class T>
using owned = std::unique_ptr<T, poison<T>>;

/// A thread with a loop that makes the given call, once for each tell().
class helper_loop {
 public:
  explicit helper_loop(std::function<void()> act)
      : thread_([this, act = std::move(act)] {
          fibers::run([&] {
            for (int round = 0; !stop_;) {
              if (told_ == round) {
                std::this_thread::yield();
                this_task::yield();
                continue;
              }
              act();
              done_ = ++round;
            }
          });
        }) {}
  ~helper_loop() {
    stop_ = true;
    thread_.join();
  }
  helper_loop(helper_loop const&) = delete;
  helper_loop& operator=(helper_loop const&) = delete;

  void tell() { ++told_; }
  bool idle() const { return told_ == done_; }

 private:
  std::atomic<int> told_ = 0, done_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// Each kind: make() an object, wait(), wake() so that both waits can end, and try_wait(), which does not suspend. Where
// a wait touches the object after its wake, it must have ended before the destruction (waits_end_first).

struct event_kind {
  using object = fibers::event;
  static constexpr bool waits_end_first = false;
  static owned<object> make() { return owned<object>(new object); }
  static void wait(object& e) { e.wait(); }
  static void wake(object& e) { e.set(); }
  static bool try_wait(object& e) { return e.is_set(); }
};

struct latch_kind {
  using object = fibers::latch;
  static constexpr bool waits_end_first = false;
  static owned<object> make() { return owned<object>(new object(1)); }
  static void wait(object& l) { l.wait(); }
  static void wake(object& l) { l.count_down(); }
  static bool try_wait(object& l) { return l.try_wait(); }
};

struct semaphore_kind {
  using object = fibers::semaphore;
  static constexpr bool waits_end_first = false;
  static owned<object> make() { return owned<object>(new object(0)); }
  static void wait(object& s) { s.acquire(); }
  static void wake(object& s) { s.release(2); }
  static bool try_wait(object& s) { return s.try_acquire(); }
};

struct mutex_kind {
  using object = fibers::mutex;
  static constexpr bool waits_end_first = true;
  static owned<object> make() {
    owned<object> m(new object);
    static_cast<void>(m->try_lock());
    return m;
  }
  static void wait(object& m) { std::lock_guard const guard(m); }
  static void wake(object& m) { m.unlock(); }
  static bool try_wait(object& m) { return m.try_lock() ? (m.unlock(), true) : false; }
};

struct shared_mutex_kind {
  using object = fibers::shared_mutex;
  static constexpr bool waits_end_first = true;
  static owned<object> make() {
    owned<object> m(new object);
    static_cast<void>(m->try_lock());
    return m;
  }
  static void wait(object& m) { std::shared_lock const guard(m); }
  static void wake(object& m) { m.unlock(); }
  static bool try_wait(object& m) { return m.try_lock() ? (m.unlock(), true) : false; }
};

struct condition_kind {
  struct object {
    fibers::mutex mutex;
    fibers::condition_variable changed;
    bool true_now = false;
  };
  static constexpr bool waits_end_first = true;
  static owned<object> make() { return owned<object>(new object); }
  static void wait(object& c) {
    std::unique_lock lock(c.mutex);
    c.changed.wait(lock, [&] { return c.true_now; });
  }
  static void wake(object& c) {
    std::lock_guard const guard(c.mutex);
    c.true_now = true;
    c.changed.notify_all();
  }
  static bool try_wait(object& c) {
    if (!c.mutex.try_lock()) return false;
    bool const is_true = c.true_now;
    c.mutex.unlock();
    return is_true;
  }
};

struct barrier_kind {
  using object = fibers::barrier;
  static constexpr bool waits_end_first = false;
  static owned<object> make() { return owned<object>(new object(3)); }
  static void wait(object& b) {
    try {
      b.arrive_and_wait();
    } catch (fibers::broken_barrier_error const&) {
    }
  }
  static void wake(object& b) { b.abort(); }
  static bool try_wait(object& b) { return b.broken(); }
};

template <std::size_t Capacity>
struct queue_kind {
  using object = fibers::queue<std::string>;
  static constexpr bool waits_end_first = false;
  static owned<object> make() { return owned<object>(new object(Capacity)); }
  static void wait(object& q) {
    try {
      q.get();
    } catch (fibers::queue_shut_down const&) {
    }
  }
  static void wake(object& q) { q.shutdown(); }
  static bool try_wait(object& q) {
    try {
      q.try_get();
      return false;
    } catch (fibers::queue_shut_down const&) {
      return true;
    }
  }
};

struct put_kind : queue_kind<0> {
  static void wait(object& q) {
    try {
      q.put("item");
    } catch (fibers::queue_shut_down const&) {
    }
  }
};

struct get_any_kind {
  struct object {
    fibers::queue<int> first;
    fibers::queue<std::string> second;
  };
  static constexpr bool waits_end_first = false;
  static owned<object> make() { return owned<object>(new object); }
  static void wait(object& o) { static_cast<void>(fibers::get_any(o.first, o.second)); }
  // The first waiter gets the number, and destroys both queues.
  static void wake(object& o) { o.first.put_nowait(1); }
  static bool try_wait(object&) { return true; }
};

#if defined(FIBERS_VALGRIND)
constexpr int rounds = 40;
#else
constexpr int rounds = 400;
#endif

enum class how { cancelled, timed_out, woken, left };

struct tally {
  int rounds = 0, ended = 0, returned = 0, cancelled = 0, timed_out = 0, destroyed = 0, others = 0;
};

template <class Kind>
tally destroy_in_rounds() {
  tally sum;
  std::atomic<typename Kind::object*> offered = nullptr;
  std::atomic<how> ending = how::woken;
  std::atomic<bool> waiting = false, ended = false;
  fibers::task_handle<> victim;  // published by `waiting`

  helper_loop other([&] {
    auto& object = *offered.load();
    auto task = spawn([&] {
      try {
        if (ending == how::timed_out) {
          fibers::with_timeout(20us, [&] { Kind::wait(object); });
        } else {
          Kind::wait(object);
        }
        ++sum.returned;
      } catch (fibers::cancelled_error const&) {
        ++sum.cancelled;
      } catch (fibers::timeout_error const&) {
        ++sum.timed_out;
      } catch (fibers::invalid_state_error const&) {
        ++sum.destroyed;
      } catch (...) {
        ++sum.others;
      }
      ++sum.ended;
      ended = true;
    });
    victim = task.handle();
    this_task::yield();  // now it waits
    waiting = true;
    task.wait();
  });
  std::atomic<typename Kind::object*> to_wake = nullptr;
  helper_loop waker([&] { Kind::wake(*to_wake.load()); });

  std::minstd_rand random(1);
  auto const hesitate = [&](unsigned most) {
    for (auto left = random() % most; left > 0; --left) asm volatile("");
    if (random() % 4 == 0) std::this_thread::yield();
  };
  fibers::run([&] {
    for (int round = 0; round < rounds || (sum.cancelled == 0 && round < 50 * rounds); ++round) {
      ++sum.rounds;
      auto object = Kind::make();
      auto* const raw = object.get();
      bool const by_fast_path = round % 2 == 1 && !std::is_same_v<Kind, get_any_kind>;
      fibers::task<void> destroyer;
      if (!by_fast_path) {
        destroyer = spawn([&] {
          try {
            Kind::wait(*raw);
          } catch (fibers::invalid_state_error const&) {
          }
          while (Kind::waits_end_first && !ended) std::this_thread::yield();
          object.reset();
        });
        this_task::yield();
      }
      waiting = ended = false;
      ending = static_cast<how>(round / 2 % 4);
      offered = raw;
      to_wake = raw;
      other.tell();
      while (!waiting) std::this_thread::yield();

      if (ending == how::cancelled) {
        victim.cancel();
        hesitate(1000);
      }
      waker.tell();
      hesitate(500);
      if (by_fast_path) {
        while (!Kind::try_wait(*raw)) std::this_thread::yield();
        while (Kind::waits_end_first && !ended) std::this_thread::yield();
        object.reset();
      } else {
        destroyer.wait();
      }
      while (!other.idle() || !waker.idle()) std::this_thread::yield();
    }
  });
  return sum;
}

}  // namespace

TEMPLATE_TEST_CASE(
    "destruction: a primitive is destroyed while waiters of another loop are cancelled, time out and wake", "",
    event_kind, latch_kind, semaphore_kind, mutex_kind, shared_mutex_kind, condition_kind, barrier_kind, queue_kind<0>,
    queue_kind<8>, put_kind, get_any_kind) {
  auto const sum = destroy_in_rounds<TestType>();
  CHECK(sum.ended == sum.rounds);
  CHECK(sum.returned + sum.cancelled + sum.timed_out + sum.destroyed == sum.rounds);
  CHECK(sum.others == 0);
  CHECK(sum.cancelled > 0);
}

// A group's owner and children are on one loop; requests come from other threads.
TEST_CASE("destruction: a task group ends while other threads cancel its owner and its children") {
  std::atomic<fibers::task_handle<>*> target = nullptr;
  std::atomic<bool> stop = false;
  std::thread canceller([&] {
    while (!stop) {
      auto* const handle = target.exchange(nullptr);
      if (handle == nullptr) {
        std::this_thread::yield();
        continue;
      }
      std::unique_ptr<fibers::task_handle<>> const owned_handle(handle);
      owned_handle->cancel();
    }
  });
  int ended = 0, went_wrong = 0;
  std::minstd_rand random(1);
  fibers::run([&] {
    for (int round = 0; round < rounds; ++round) {
      auto owner = spawn([&] {
        try {
          fibers::with_task_group([&](fibers::task_group& group) {
            for (int i = 0; i < 3; ++i) {
              auto child = group.spawn([] { fibers::sleep_for(5us); });
              if (i == round % 3) delete target.exchange(new fibers::task_handle<>(child));
            }
            if (round % 4 == 3) delete target.exchange(new fibers::task_handle<>(this_task::handle()));
            for (auto left = random() % 500; left > 0; --left) asm volatile("");
          });
        } catch (fibers::cancelled_error const&) {
        } catch (...) {
          ++went_wrong;
        }
        ++ended;
      });
      owner.wait();
    }
  });
  stop = true;
  canceller.join();
  delete target.load();
  CHECK(ended == rounds);
  CHECK(went_wrong == 0);
}

TEST_CASE("destruction: as_completed() is destroyed while its tasks end on another thread") {
  std::atomic<fibers::task_handle<int>*> given = nullptr;
  std::atomic<int> wanted = 0;
  std::atomic<bool> stop = false;
  std::thread other([&] {
    fibers::run([&] {
      for (int round = 0; !stop;) {
        if (wanted == round) {
          std::this_thread::yield();
          this_task::yield();
          continue;
        }
        ++round;
        auto task = spawn([] {
          this_task::yield();
          return 1;
        });
        given = new fibers::task_handle<int>(task.handle());
        task.wait();
      }
    });
  });
  int results = 0, left_early = 0;
  fibers::run([&] {
    for (int round = 0; round < rounds; ++round) {
      ++wanted;
      fibers::task_handle<int>* handle = nullptr;
      while ((handle = given.exchange(nullptr)) == nullptr) std::this_thread::yield();
      std::vector const tasks{*handle};
      delete handle;
      if (round % 2 == 0) {
        for (auto& task : fibers::as_completed(tasks)) results += task.get();
      } else {
        try {
          fibers::with_timeout(1us, [&] {
            for (auto& task : fibers::as_completed(tasks)) results += task.get();
          });
        } catch (fibers::timeout_error const&) {
          ++left_early;
        }
      }
    }
  });
  stop = true;
  other.join();
  CHECK(results + left_early >= rounds);  // the limit may pass after the result
  CHECK(results <= rounds);
  CHECK(results >= rounds / 2);
}
