// SPDX-License-Identifier: BSL-1.0

// Timeouts and groups.

#include <boost/json.hpp>

#include "statement.hpp"

namespace parity {
namespace {

template <class Enter>
returned in_timeout(statement const& s, Enter enter) {
  bool expired = false;
  auto const block = [&] {
    returned result;
    enter([&](fibers::timeout_scope& scope) {
      struct look {
        fibers::timeout_scope& scope;
        bool& expired;
        ~look() { expired = scope.expired(); }
      } const at_the_end{scope, expired};
      auto inside = s.around();
      inside.timeout = &scope;
      result = play_body(s.array(2), inside);
    });
    return result;
  };
  return s.leaving(block, [&](std::exception_ptr const& error) {
    return s.word(0) + (error != nullptr ? "!" + spell(error).text : ":ok") + (expired ? ":expired" : "");
  });
}

returned timeout(statement const& s) {
  return in_timeout(s, [&](auto const& inside) { fibers::with_timeout(s.limit(1), inside); });
}

returned timeout_at(statement const& s) {
  return in_timeout(s, [&](auto const& inside) {
    fibers::time_point const deadline =
        s.has(1) ? fibers::time_point(milliseconds(s.number(1))) : fibers::time_point(fibers::no_timeout);
    fibers::with_timeout_at(deadline, inside);
  });
}

returned reschedule(statement const& s) {
  auto& timeout = *s.around().timeout;
  if (timeout.expired()) s.misuse("reschedule");
  timeout.reschedule_after(s.limit(1));
  return {};
}

returned wait_for(statement const& s) {
  auto const value = s.waiting("wait_for", [&] {
    return fibers::wait_for([&] { return play_body(s.array(2), s.around()).value_or("none"); }, s.limit(1));
  });
  s.trace("wait_for=" + value);
  return {};
}

returned group(statement const& s) {
  auto const block = [&] {
    returned result;
    fibers::with_task_group([&](fibers::task_group& children) {
      auto inside = s.around();
      inside.group = &children;
      result = play_body(s.array(1), inside);
    });
    return result;
  };
  return s.leaving(block, [&](std::exception_ptr const& error) {
    return "group" + (error != nullptr ? "!" + spell(error).text : ":ok");
  });
}

returned start(statement const& s) {
  auto* const group = s.around().group;
  auto& self = s.play().new_record();
  fibers::task_handle<std::string> task;
  try {
    task = group->spawn(task_body(s.play(), self, s.array(2), group));
  } catch (fibers::invalid_state_error const&) {  // the group is aborting
    s.play().drop_record();
  }
  if (!task) s.misuse("start:" + s.word(1));
  s.play().created(self, s.word(1), std::move(task));
  return {};
}

}  // namespace

statements const& scope_statements() {
  static statements const all = {
      {"timeout", timeout},   {"timeout_at", timeout_at}, {"reschedule", reschedule},
      {"wait_for", wait_for}, {"group", group},           {"start", start},
  };
  return all;
}

}  // namespace parity
