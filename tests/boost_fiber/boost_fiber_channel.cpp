// SPDX-License-Identifier: BSL-1.0

// Tasks at the ends of Boost.Fiber's channels: whatever is cancelled, no item is lost, and none is duplicated.

#include <boost/fiber/buffered_channel.hpp>
#include <boost/fiber/unbuffered_channel.hpp>
#include <chrono>
#include <fibers/boost_fiber.hpp>
#include <fibers/shield.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "boost_fibers.hpp"
#include "catch.hpp"

using namespace std::chrono_literals;
using fibers::spawn;
using fibers::boost_fiber::receiver;
using fibers::boost_fiber::sender;
using fibers::testing::boost_case;
using fibers::testing::how;
using fibers::testing::neighbour;
using fibers::testing::on_a_thread;
namespace this_task = fibers::this_task;

template <class T>
using buffered = boost::fibers::buffered_channel<T>;
template <class T>
using unbuffered = boost::fibers::unbuffered_channel<T>;
using item = std::unique_ptr<int>;
using boost::fibers::channel_op_status;

namespace {

// Lets Boost fibers run until all of them wait.
void let_boost_fibers_run() {
  for (int i = 0; i < 5; ++i) fibers::boost_fiber::call([] { boost::this_fiber::yield(); });
}

template <class Receiver>
std::string take_all(Receiver& from) {
  std::string all;
  for (auto&& item : from) all += std::to_string(*item);
  return all;
}

// One channel of each kind.
template <class Channel>
struct made {
  Channel channel;
};
template <class T>
struct made<buffered<T>> {
  buffered<T> channel{4};
};

}  // namespace

// --- receiver ---

TEMPLATE_TEST_CASE("boost_fiber: a receiver returns all items in order, until the channel is closed", "",
                   buffered<item>, unbuffered<item>) {
  std::string got, after;
  made<TestType> made;
  neighbour producer([&] {
    for (int i = 0; i < 9; ++i) made.channel.push(std::make_unique<int>(i));
    made.channel.close();
  });
  fibers::run([&] {
    receiver items(made.channel);
    got = take_all(items);
    after = how([&] { items.get(); });
    CHECK_FALSE(items.try_get().has_value());
  });
  CHECK(got == "012345678");
  CHECK(after == "failed: the queue was shut down");
}

TEMPLATE_TEST_CASE("boost_fiber: a receiver takes nothing before the first get()", "", buffered<item>,
                   unbuffered<item>) {
  made<TestType> made;
  int pushed = 0;
  neighbour producer([&] {
    for (; made.channel.push(std::make_unique<int>(pushed)) == channel_op_status::success; ++pushed) {
    }
  });
  int before = 0, after = 0;
  fibers::run([&] {
    receiver items(made.channel);
    let_boost_fibers_run();
    before = pushed;
    CHECK(*items.get() == 0);
    let_boost_fibers_run();
    after = pushed;
  });
  CHECK(after == before + 1);
}

TEMPLATE_TEST_CASE("boost_fiber: an item that arrives for a cancelled get() is returned by the next one", "",
                   buffered<item>, unbuffered<item>) {
  std::string cancelled, got;
  made<TestType> made;
  fibers::run([&] {
    receiver items(made.channel);
    auto waiting = spawn([&] { cancelled = how([&] { items.get(); }); });
    this_task::yield();
    let_boost_fibers_run();  // a Boost fiber waits in the channel
    waiting.cancel();
    waiting.get();
    neighbour producer([&] {
      for (int i = 0; i < 3; ++i) made.channel.push(std::make_unique<int>(i));
      made.channel.close();
    });
    let_boost_fibers_run();
    bool const by_try = GENERATE(true, false);
    got = std::to_string(by_try ? **items.try_get() : *items.get());
    got += take_all(items);
    fibers::boost_fiber::call([&] { producer.join(); });
  });
  CHECK(cancelled == "cancelled");
  CHECK(got == "012");
}

TEMPLATE_TEST_CASE("boost_fiber: repeated get() calls that time out lose nothing", "", buffered<item>,
                   unbuffered<item>) {
  std::string got;
  made<TestType> made;
  neighbour producer([&] {
    for (int i = 0; i < 5; ++i) {
      boost::this_fiber::sleep_for(2ms);
      made.channel.push(std::make_unique<int>(i));
    }
    made.channel.close();
  });
  int late = 0;
  fibers::run([&] {
    receiver items(made.channel);
    try {
      for (;;) {
        auto const next = fibers::move_on_after(100us, [&] { return items.get(); });
        if (next) {
          got += std::to_string(**next);
        } else {
          ++late;
        }
      }
    } catch (fibers::queue_shut_down const&) {
    }
  });
  CHECK(got == "01234");
  CHECK(late > 0);
}

TEST_CASE_METHOD(boost_case, "boost_fiber: several tasks share a receiver in FIFO order") {
  buffered<int> channel(4);
  run([&] {
    receiver items(channel);
    std::vector<fibers::task<void>> tasks;
    for (auto const* const name : {"a", "b", "c"}) {
      tasks.push_back(spawn([&, name] { note(name + how([&] { return items.get(); })); }));
    }
    this_task::yield();
    tasks[1].cancel();
    for (int i = 0; i < 2; ++i) channel.push(i);
    for (auto& task : tasks) task.wait();
  });
  CHECK(happened == "bcancelled, areturned 0, creturned 1");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a pending request is thrown though there is an item") {
  buffered<int> channel(4);
  channel.push(1);
  run([&] {
    receiver items(channel);
    sender more(channel);
    for (int i = 0; i < 3; ++i) {
      this_task::cancel();
      note(how([&] {
        if (i == 0) items.get();
        if (i == 1) more.put(2);
        if (i == 2) more.flush();
      }));
    }
    note(how([&] { return items.get(); }));
    note(items.try_get() ? "more" : "no more");
  });
  CHECK(happened == "cancelled, cancelled, cancelled, returned 1, no more");
}

TEMPLATE_TEST_CASE("boost_fiber: a destroyed receiver closes its channel, and leaves no waiting fiber in it", "",
                   buffered<item>, unbuffered<item>) {
  auto made = std::make_unique<::made<TestType>>();
  auto status = channel_op_status::success;
  fibers::run([&] {
    auto waiting = spawn([&] {
      receiver items(made->channel);
      items.get();
    });
    this_task::yield();
    let_boost_fibers_run();
    waiting.cancel();
    waiting.wait();
    status = fibers::boost_fiber::call([&] { return made->channel.push(std::make_unique<int>(1)); });
    made.reset();
  });
  CHECK(status == channel_op_status::closed);
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a destroyed receiver leaves items that it has not taken in the channel") {
  buffered<int> channel(8);
  run([&] {
    for (int i = 0; i < 5; ++i) channel.push(i);
    receiver items(channel);
    items.get();
    auto waiting = spawn([&] { items.get(); });
    waiting.cancel();
    waiting.wait();
  });
  std::string left;
  for (int next = 0; channel.pop(next) == channel_op_status::success;) left += std::to_string(next);
  CHECK(left == "1234");
}

// --- sender ---

TEMPLATE_TEST_CASE("boost_fiber: a sender's items arrive in order", "", buffered<item>, unbuffered<item>) {
  std::string got;
  made<TestType> made;
  neighbour consumer([&] {
    while (true) {
      item next;
      if (made.channel.pop(next) != channel_op_status::success) break;
      got += std::to_string(*next);
      boost::this_fiber::yield();
    }
  });
  fibers::run([&] {
    sender items(made.channel);
    for (int i = 0; i < 9; ++i) items.put(std::make_unique<int>(i));
    items.flush();
    made.channel.close();
  });
  consumer.join();
  CHECK(got == "012345678");
}

TEMPLATE_TEST_CASE("boost_fiber: a cancelled put() has not touched its item", "", buffered<item>, unbuffered<item>) {
  made<TestType> made;
  std::string ended, got;
  auto mine = std::make_unique<int>(7);
  fibers::run([&] {
    sender items(made.channel);
    int room = 0;  // items until put() must wait
    while (fibers::move_on_after(1ms, [&] { items.put(std::make_unique<int>(room)); })) ++room;
    auto waiting = spawn([&] { ended = how([&] { items.put(std::move(mine)); }); });
    this_task::yield();
    waiting.cancel();
    waiting.wait();
    neighbour consumer([&] {
      for (item next; made.channel.pop(next) == channel_op_status::success;) got += std::to_string(*next);
    });
    items.flush();
    made.channel.close();
    fibers::boost_fiber::call([&] { consumer.join(); });
    got += room == static_cast<int>(got.size()) ? " all" : " some";
  });
  CHECK(ended == "cancelled");
  REQUIRE(mine != nullptr);
  CHECK(*mine == 7);
  CHECK(got.substr(got.size() - 4) == " all");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a closed channel refuses an item, which is untouched") {
  buffered<item> of_four(4);
  unbuffered<item> of_none;
  of_four.close();
  of_none.close();
  auto mine = std::make_unique<int>(7);
  run([&] {
    sender buffered_items(of_four);
    sender items(of_none);
    note(how([&] { buffered_items.put(std::move(mine)); }));
    note(how([&] { items.put(std::move(mine)); }));
    note(how([&] { items.flush(); }));
  });
  CHECK(happened == "failed: the queue was shut down, failed: the queue was shut down, returned");
  CHECK(mine != nullptr);
}

TEMPLATE_TEST_CASE("boost_fiber: a sender returns the item that it still held when the channel was closed", "",
                   buffered<int>, unbuffered<int>) {
  made<TestType> made;
  std::string flushed, refused;
  std::optional<int> unsent, twice;
  int room = 0;
  fibers::run([&] {
    sender items(made.channel);
    while (fibers::move_on_after(1ms, [&] { items.put(room); })) ++room;
    auto waiting = spawn([&] { refused = how([&] { items.put(100); }); });
    auto flushing = spawn([&] { flushed = how([&] { items.flush(); }); });
    this_task::yield();
    made.channel.close();
    waiting.wait();
    flushing.wait();
    unsent = items.take_unsent();
    twice = items.take_unsent();
  });
  CHECK(refused == "failed: the queue was shut down");
  CHECK(flushed == "failed: the queue was shut down");
  CHECK(unsent == room - 1);
  CHECK_FALSE(twice.has_value());
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a sender's destructor waits until the channel has its last item") {
  unbuffered<int> channel;
  run([&] {
    auto sending = spawn([&] {
      sender items(channel);
      items.put(1);
      note("put");
    });
    this_task::yield();
    sending.cancel();
    let_boost_fibers_run();
    note(sending.done() ? "gone" : "stays");
    receiver items(channel);
    note(std::to_string(items.get()));
    sending.wait();
  });
  CHECK(happened == "put, stays, 1");
}

TEST_CASE_METHOD(boost_case,
                 "boost_fiber: flush() reports an item that was not sent, also after the item was returned") {
  buffered<int> channel(2);
  run([&] {
    sender items(channel);
    items.put(1);
    items.put(2);  // the sender holds this item
    auto waiting = spawn([&] {
      note(how([&] { items.put(3); }));
      note(std::to_string(items.take_unsent().value()));
    });
    auto flushing = spawn([&] { note(how([&] { items.flush(); })); });
    this_task::yield();
    channel.close();
    waiting.wait();
    flushing.wait();
    note(how([&] { items.flush(); }));
  });
  CHECK(happened ==
        "failed: the queue was shut down, 2, failed: the queue was shut down, failed: the queue was shut down");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a move-only item is lost with the push of a closed unbuffered channel") {
  unbuffered<std::unique_ptr<int>> channel;
  run([&] {
    sender items(channel);
    items.put(std::make_unique<int>(1));
    let_boost_fibers_run();
    channel.close();
    note(how([&] { items.flush(); }));
    note(items.take_unsent().has_value() ? "an item" : "nothing");
  });
  CHECK(happened == "failed: the queue was shut down, nothing");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a closed unbuffered channel is empty, whatever was on its way") {
  unbuffered<std::string> channel;
  run([&] {
    sender items(channel);
    receiver late(channel);
    items.put(std::string(100, '-'));
    let_boost_fibers_run();
    { receiver closes(channel); }
    note(how([&] { items.flush(); }));
    note(how([&] { late.get(); }));
  });
  CHECK(happened == "failed: the queue was shut down, failed: the queue was shut down");
}

TEST_CASE_METHOD(boost_case, "boost_fiber: a sender destroyed after its loop waits without using processor time") {
  buffered<int> channel(2);
  std::optional<sender<buffered<int>>> items;
  run([&] {
    items.emplace(channel);
    items->put(1);
    items->put(2);  // the sender holds this item
    let_boost_fibers_run();
  });
  neighbour const consumer([&] {
    boost::this_fiber::sleep_for(100ms);
    note(std::to_string(channel.value_pop()));
  });
  auto const used_before = fibers::testing::processor_time();
  auto const start = std::chrono::steady_clock::now();
  items.reset();
  auto const used = fibers::testing::processor_time() - used_before;
  auto const passed = std::chrono::steady_clock::now() - start;
  CHECK(happened == "1");
  CHECK(passed >= 100ms);
  CHECK(used < passed / 2);
}

// --- whatever happens ---

TEMPLATE_TEST_CASE("boost_fiber: under random cancellations every item arrives exactly once", "[conservation]",
                   buffered<item>, unbuffered<item>) {
  auto const seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 chance(seed);
  auto const roll = [&chance](unsigned sides) { return static_cast<unsigned>(chance() % sides); };
  constexpr int per_sender = 100;
  std::vector<std::vector<int>> got(4);  // the items of each sender
  int cancelled = 0;
  fibers::run([&] {
    made<TestType> made;
    auto& channel = made.channel;
    auto const keep = [&](int number) { got[static_cast<std::size_t>(number / 1000)].push_back(number % 1000); };

    // Two Boost fibers and two tasks produce.
    std::vector<neighbour> producers;
    for (int who = 0; who < 2; ++who) {
      producers.emplace_back([&, who] {
        for (int i = 0; i < per_sender; ++i) {
          channel.push(std::make_unique<int>(who * 1000 + i));
          if (roll(3) == 0) boost::this_fiber::yield();
        }
      });
    }
    sender out(channel);
    std::vector<fibers::task<void>> putters;
    for (int who = 2; who < 4; ++who) {
      putters.push_back(spawn([&, who] {
        for (int i = 0; i < per_sender;) {
          auto next = std::make_unique<int>(who * 1000 + i);
          try {
            out.put(std::move(next));
            ++i;
          } catch (fibers::cancelled_error const&) {
            ++cancelled;
            if (next == nullptr) throw std::logic_error("a cancelled put() took its item");
          }
        }
      }));
    }

    // A Boost fiber and two tasks consume.
    neighbour consumer([&] {
      for (item next; channel.pop(next) == channel_op_status::success;) {
        keep(*next);
        boost::this_fiber::yield();
        if (roll(4) == 0) boost::this_fiber::yield();
      }
    });
    receiver in(channel);
    std::vector<fibers::task<void>> getters;
    for (int i = 0; i < 2; ++i) {
      getters.push_back(spawn([&] {
        for (;;) {
          try {
            keep(*in.get());
          } catch (fibers::cancelled_error const&) {
            ++cancelled;
          } catch (fibers::queue_shut_down const&) {
            return;
          }
        }
      }));
    }

    auto const disturb = spawn([&] {
      for (;;) {
        auto& group = roll(2) == 0 ? putters : getters;
        group[roll(2)].cancel();
        if (roll(2) == 0) {
          this_task::yield();
        } else {
          fibers::boost_fiber::call([] { boost::this_fiber::yield(); });
        }
      }
    });
    for (auto& putter : putters) putter.wait();
    out.flush();
    fibers::boost_fiber::call([&] { producers.clear(); });
    channel.close();
    for (auto& getter : getters) getter.wait();
    fibers::boost_fiber::call([&] { consumer.join(); });
    while (auto const left = in.try_get()) keep(**left);
  });
  CHECK(cancelled > 0);
  for (auto& of_one : got) {
    CHECK(of_one.size() == per_sender);
    CHECK(std::set<int>(of_one.begin(), of_one.end()).size() == of_one.size());
  }
}

TEMPLATE_TEST_CASE("boost_fiber: tasks and Boost fibers of several threads share a channel", "", buffered<item>,
                   unbuffered<item>) {
  made<TestType> made;
  std::vector<int> got;
  constexpr int count = 500;
  std::thread producer([&] {
    fibers::run([&] {
      sender items(made.channel);
      for (int i = 0; i < count; ++i) items.put(std::make_unique<int>(i));
      items.flush();
      made.channel.close();
    });
  });
  fibers::run([&] {
    receiver items(made.channel);
    for (auto&& next : items) got.push_back(*next);
  });
  producer.join();
  REQUIRE(got.size() == count);
  bool in_order = true;
  for (int i = 0; i < count; ++i) in_order = in_order && got[static_cast<std::size_t>(i)] == i;
  CHECK(in_order);
}
