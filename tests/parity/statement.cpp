// SPDX-License-Identifier: BSL-1.0

#include "statement.hpp"

#include <boost/json.hpp>

namespace parity {
namespace {

statements const& all_statements() {
  static statements const all = [] {
    statements together;
    for (auto const* some : {&plain_statements(), &task_statements(), &scope_statements(), &sync_statements()}) {
      together.insert(some->begin(), some->end());
    }
    return together;
  }();
  return all;
}

}  // namespace

returned play_body(json::array const& body, surroundings const& around) {
  for (auto const& words : body) {
    around.play.step();
    statement const next(words.as_array(), around);
    if (auto result = all_statements().at(next.word(0))(next)) return result;
  }
  return {};
}

}  // namespace parity
