// SPDX-License-Identifier: BSL-1.0
#include "../../fibers/detail/parts/inbox.hpp"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "../../fibers/detail/parts/thread_parker.hpp"
#include "catch.hpp"

using fibers::time_point;
using fibers::detail::inbox;
using fibers::detail::inbox_entry;

namespace {

using note = inbox_entry::note;

// Sleeps for real, and counts its calls.
struct counting_parker final : fibers::detail::parker {
  void park(time_point deadline) override {
    ++parks;
    thread.park(deadline);
  }
  void unpark() noexcept override {
    ++unparks;
    thread.unpark();
  }
  void poll() override { ++polls; }
  fibers::detail::thread_parker thread;
  std::atomic<int> parks = 0, unparks = 0, polls = 0;
};

void nothing() {}

using read_entry = std::pair<inbox_entry*, int>;
std::vector<read_entry> drain(inbox& box) {
  std::vector<read_entry> read;
  box.drain([&](inbox_entry& entry, std::uint8_t notes) { read.emplace_back(&entry, notes); });
  return read;
}

}  // namespace

TEST_CASE("inbox: entries are read oldest first, each once", "[THR-17]") {
  counting_parker parker;
  inbox box(parker);
  inbox_entry a, b, c;
  CHECK(box.empty());
  for (auto* entry : {&b, &a, &c}) box.post(*entry, note::woken, nothing);
  CHECK_FALSE(box.empty());
  CHECK(drain(box) == std::vector<read_entry>{{&b, note::woken}, {&a, note::woken}, {&c, note::woken}});
  CHECK(box.empty());
  CHECK(drain(box).empty());
}

TEST_CASE("inbox: several posts of one entry are merged at the position of the first") {
  counting_parker parker;
  inbox box(parker);
  inbox_entry a, b;
  int shares = 0;
  auto const share = [&] { ++shares; };
  box.post(a, note::woken, share);
  box.post(b, note::woken, share);
  box.post(a, note::requested, share);
  box.post(a, note::requested, share);
  CHECK(shares == 2);
  CHECK(drain(box) == std::vector<read_entry>{{&a, note::woken | note::requested}, {&b, note::woken}});
}

TEST_CASE("inbox: a post that arrives while its entry is read is a new entry") {
  counting_parker parker;
  inbox box(parker);
  inbox_entry a;
  box.post(a, note::woken, nothing);
  box.drain([&](inbox_entry& entry, std::uint8_t) { box.post(entry, note::requested, nothing); });
  CHECK(drain(box) == std::vector<read_entry>{{&a, note::requested}});
}

TEST_CASE("inbox: only a sleeping reader is unparked, and a reader with entries does not sleep") {
  counting_parker parker;
  inbox box(parker);
  inbox_entry a;
  box.post(a, note::woken, nothing);
  CHECK(parker.unparks == 0);
  box.sleep(time_point::max());
  CHECK(parker.parks == 0);
  drain(box);
  box.ring();
  CHECK(parker.unparks == 0);
  box.sleep(time_point::max());
  CHECK(parker.parks == 0);
  CHECK(parker.polls == 2);  // the parker polls instead
  drain(box);
  CHECK(box.empty());  // a drain also consumes the ring
}

TEST_CASE("inbox: no post of any thread is lost or missed by the reader, asleep or awake") {
  // With one poster, no other thread wakes the loop by chance.
  auto const posters = GENERATE(std::size_t{1}, std::size_t{3});
  counting_parker parker;
  inbox box(parker);
  std::atomic<bool> stop = false;
  std::vector<inbox_entry> entries(posters);
  std::vector<fibers::detail::thread_parker> read(posters);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < posters; ++i) {
    threads.emplace_back([&, i] {  // posts again whenever the entry was read
      while (!stop) {
        box.post(entries[i], note::woken, nothing);
        read[i].park(time_point::max());
      }
    });
  }
  // Repeats until posts have often met the loop both asleep and awake. A lost post would hang.
  for (int reads = 0, awake = 0; reads < 1000 || parker.unparks < 20 || awake < 20;) {
    auto const parks = parker.parks.load();
    for (int delay = reads % 200 * 100; delay > 0; --delay) asm volatile("");
    box.sleep(time_point::max());
    if (parker.parks.load() == parks) ++awake;
    box.drain([&](inbox_entry& entry, std::uint8_t) {
      ++reads;
      read[static_cast<std::size_t>(&entry - entries.data())].unpark();
    });
  }
  stop = true;
  for (auto& poster : read) poster.unpark();
  for (auto& thread : threads) thread.join();
  drain(box);
  CHECK(box.empty());
}

TEST_CASE("inbox: a ring of another thread wakes the sleeping reader") {
  counting_parker parker;
  inbox box(parker);
  std::atomic<int> rings = 0;
  std::thread other([&] {
    for (int i = 0; i < 2000; ++i) {
      ++rings;
      box.ring();
    }
  });
  while (rings < 2000) {
    box.sleep(time_point::max());
    drain(box);
  }
  other.join();
  CHECK(rings == 2000);
}
