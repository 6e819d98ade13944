// SPDX-License-Identifier: BSL-1.0

// Locks, events, queues and similar primitives.

#include <algorithm>
#include <boost/json.hpp>

#include "statement.hpp"

namespace parity {
namespace {

template <class F>
returned wait_here(statement const& s, F wait) {
  s.waiting(s.tag(), wait);
  s.trace(s.tag());
  return {};
}

template <class Release>
returned holding(statement const& s, surroundings const& inside, Release release) {
  return s.leaving([&] { return play_body(s.array(2), inside); },
                   [&](std::exception_ptr const&) {
                     release();
                     return "un" + s.tag();
                   });
}

returned lock(statement const& s) {
  std::unique_lock<fibers::mutex> held(s.play().lock(s.word(1)), std::defer_lock);
  wait_here(s, [&] { held.lock(); });
  auto inside = s.around();
  inside.held[s.word(1)] = &held;
  return holding(s, inside, [&] {
    if (s.play().over()) {
      held.release();  // the lock may have been released already
    } else {
      held.unlock();
    }
  });
}

returned sem(statement const& s) {
  auto& semaphore = s.play().semaphore(s.word(1));
  wait_here(s, [&] { semaphore.acquire(); });
  return holding(s, s.around(), [&] { semaphore.release(); });
}

returned event_wait(statement const& s) {
  return wait_here(s, [&] { s.play().event(s.word(1)).wait(); });
}

returned event_set(statement const& s) {
  s.play().event(s.word(1)).set();
  s.trace(s.tag());
  return {};
}

returned event_clear(statement const& s) {
  s.play().event(s.word(1)).clear();
  s.trace(s.tag());
  return {};
}

returned cond_wait(statement const& s) {
  return wait_here(s, [&] { s.play().condition(s.word(1)).wait(*s.around().held.at(s.word(1))); });
}

returned cond_notify(statement const& s) {
  auto const count = std::max<std::int64_t>(s.number(2), 0);
  s.play().condition(s.word(1)).notify(static_cast<std::size_t>(count));
  s.trace(s.tag());
  return {};
}

returned put(statement const& s) {
  return wait_here(s, [&] { s.play().queue(s.word(1)).put(s.text(2)); });
}

returned get(statement const& s) {
  s.trace(s.tag() + "=" + s.waiting(s.tag(), [&] { return s.play().queue(s.word(1)).get(); }));
  return {};
}

returned barrier(statement const& s) {
  return wait_here(s, [&] { s.play().barrier(s.word(1)).arrive_and_wait(); });
}

}  // namespace

statements const& sync_statements() {
  static statements const all = {
      {"lock", lock},
      {"sem", sem},
      {"event_wait", event_wait},
      {"event_set", event_set},
      {"event_clear", event_clear},
      {"cond_wait", cond_wait},
      {"cond_notify", cond_notify},
      {"put", put},
      {"get", get},
      {"barrier", barrier},
  };
  return all;
}

}  // namespace parity
