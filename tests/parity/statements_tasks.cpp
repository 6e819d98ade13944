// SPDX-License-Identifier: BSL-1.0

// Statements that concern other tasks.

#include <algorithm>
#include <boost/json.hpp>
#include <vector>

#include "statement.hpp"

namespace parity {
namespace {

using handle = fibers::task_handle<std::string>;

returned unknown(statement const& s, std::string const& as) {
  s.trace(as + ":unknown");
  return {};
}

returned spawn(statement const& s) {
  auto& self = s.play().new_record();
  s.play().created(self, s.word(1), fibers::spawn(task_body(s.play(), self, s.array(2), nullptr)).detach());
  return {};
}

returned cancel(statement const& s) {
  auto const* const task = s.play().find(s.word(1));
  if (task == nullptr) return unknown(s, s.tag());
  bool const accepted = task->task.cancel(s.text_or(2, ""));
  s.trace(s.tag() + (accepted ? "" : ":late"));
  return {};
}

returned to_result(statement const& s) {
  auto const* const task = s.play().find(s.word(1));
  if (task == nullptr) return unknown(s, s.tag());
  s.trace(s.tag() + (task->task.done() ? task->outcome() : ":pending"));
  return {};
}

// --- one ---

template <class F>
returned wait_for_one(statement const& s, std::size_t name, F wait) {
  auto const as = s.word(0) + ":" + s.word(name);
  auto const* const task = s.play().find(s.word(name));
  if (task == nullptr) return unknown(s, as);
  s.trace(as + "=" + s.waiting(as, [&] { return wait(task->task); }));
  return {};
}

returned await(statement const& s) {
  return wait_for_one(s, 1, [](handle const& task) { return task.get(); });
}

returned shield(statement const& s) {
  return wait_for_one(s, 1, [](handle const& task) { return fibers::shield(task); });
}

returned wait_for_task(statement const& s) {
  return wait_for_one(s, 2, [&](handle const& task) { return fibers::wait_for(task, s.limit(1)); });
}

// --- many ---

struct named_tasks {
  std::vector<std::string> names;
  std::vector<record*> records;
  std::vector<handle> tasks;

  std::size_t index_of(fibers::task_handle<> const& task) const {
    auto const same = [&](handle const& each) { return each.id() == task.id(); };
    return static_cast<std::size_t>(std::find_if(tasks.begin(), tasks.end(), same) - tasks.begin());
  }
};

template <class F>
returned wait_for_many(statement const& s, F wait) {
  named_tasks found;
  for (auto const& each : s.array(1)) {
    std::string const name(each.as_string());
    auto* const task = s.play().find(name);
    if (task == nullptr || std::find(found.names.begin(), found.names.end(), name) != found.names.end()) continue;
    found.names.push_back(name);
    found.records.push_back(task);
    found.tasks.push_back(task->task);
  }
  if (found.tasks.empty()) return unknown(s, s.word(0));
  s.waiting(s.word(0), [&] { wait(found); });
  return {};
}

returned gather(statement const& s) {
  return wait_for_many(s, [&](named_tasks const& found) {
    std::vector<std::string> texts;
    if (s.flag(2)) {
      for (auto const& result : fibers::gather(fibers::return_exceptions, found.tasks)) {
        texts.push_back(result.has_value() ? result.value() : "!" + spell(result.error()).text);
      }
    } else {
      texts = fibers::gather(found.tasks);
    }
    s.trace("gather=" + list(texts));
  });
}

returned wait(statement const& s) {
  static std::map<std::string, fibers::return_when> const modes = {
      {"all", fibers::return_when::all_completed},
      {"first_completed", fibers::return_when::first_completed},
      {"first_exception", fibers::return_when::first_exception},
  };
  return wait_for_many(s, [&](named_tasks const& found) {
    std::optional<fibers::time_limit> time;
    if (s.has(3)) time = s.limit(3);
    auto const result = fibers::wait(found.tasks, modes.at(s.word(2)), time);
    auto const names = [&](auto const& tasks) {
      std::vector<std::string> texts;
      for (auto const& task : tasks) texts.push_back(found.names[found.index_of(task)]);
      return list(texts);
    };
    s.trace("wait:done=" + names(result.done) + ":pending=" + names(result.pending));
  });
}

returned as_completed(statement const& s) {
  return wait_for_many(s, [&](named_tasks const& found) {
    for (auto const& task : fibers::as_completed(found.tasks)) {
      auto const i = found.index_of(task);
      s.trace("next:" + found.names[i] + found.records[i]->outcome());
    }
  });
}

}  // namespace

statements const& task_statements() {
  static statements const all = {
      {"spawn", spawn},
      {"cancel", cancel},
      {"await", await},
      {"shield", shield},
      {"gather", gather},
      {"to_result", to_result},
      {"wait", wait},
      {"wait_for_task", wait_for_task},
      {"as_completed", as_completed},
  };
  return all;
}

}  // namespace parity
