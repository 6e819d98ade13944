// SPDX-License-Identifier: BSL-1.0
#pragma once

// Common parts of the tests of queues: tasks that put or get once, and record how that ended.

#include <fibers/queue.hpp>
#include <fibers/task.hpp>
#include <string>

#include "record.hpp"

namespace fibers::testing {

class queue_case : public virtual_time {
 protected:
  template <class Queue>
  auto getter(Queue& q, std::string name) {
    return spawn([this, &q, name] { seen(name + ' ' + how([&] { return q.get(); })); });
  }
  template <class Queue>
  auto putter(Queue& q, int item) {
    return spawn([this, &q, item] { seen("put " + std::to_string(item) + ' ' + how([&] { q.put(item); })); });
  }
  template <class Queue>
  auto joiner(Queue& q) {
    return spawn([this, &q] { seen("join " + how([&] { q.join(); })); });
  }

  /// Takes all items out. Returns the state and the items: "2 full: 7 8".
  template <class Queue>
  void see_all(Queue& q) {
    auto text = std::to_string(q.size()) + (q.empty() ? " empty" : "") + (q.full() ? " full" : "");
    std::string items;
    while (auto const item = q.try_get()) items += ' ' + std::to_string(*item);
    seen(text + (items.empty() ? "" : ":" + items));
  }
};

/// The same for each kind of queue.
template <class Queue>
class queue_kinds : public queue_case {};

}  // namespace fibers::testing
