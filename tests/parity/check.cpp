// SPDX-License-Identifier: BSL-1.0

#include "check.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace parity {
namespace {

namespace json = boost::json;

// The arguments of each statement, one letter each; those after ? are optional.
//   n a name   l a list of names   v a value   i an integer   t a time, or null   b a body   c clauses
//   f a flag   k a kind of error   m a mode of waiting
std::map<std::string_view, std::string_view> const& arguments() {
  static std::map<std::string_view, std::string_view> const all = {
      {"log", "v"},          {"sleep", "i"},          {"yield", ""},         {"raise", "k"},      {"reraise", ""},
      {"return", "?v"},      {"try", "bc"},           {"loop", "ib"},        {"spawn", "nb"},     {"cancel", "n?v"},
      {"cancel_self", "?v"}, {"uncancel", ""},        {"cancelling", ""},    {"to_result", "n"},  {"await", "n"},
      {"shield", "n"},       {"wait_for_task", "tn"}, {"gather", "l?f"},     {"wait", "lm?t"},    {"as_completed", "l"},
      {"timeout", "tb"},     {"timeout_at", "tb"},    {"reschedule", "t"},   {"wait_for", "tb"},  {"group", "b"},
      {"start", "nb"},       {"lock", "nb"},          {"sem", "nb"},         {"event_wait", "n"}, {"event_set", "n"},
      {"event_clear", "n"},  {"cond_wait", "n"},      {"cond_notify", "ni"}, {"put", "nv"},       {"get", "n"},
      {"barrier", "n"},
  };
  return all;
}

// The context of a body, which determines what is allowed in it.
struct place {
  std::string path;
  std::size_t depth = 0;
  bool group = false;
  bool timeout = false;
  bool handler = false;
  std::set<std::string> held = {};

  place in(std::string const& step) const {
    auto inside = *this;
    inside.path += step;
    return inside;
  }
  [[noreturn]] void refuse(std::string const& why) const { throw unplayable(path + ": " + why); }
  void need(bool condition, std::string const& why) const {
    if (!condition) refuse(why);
  }
};

class checker {
 public:
  std::size_t deepest_seen = 0;

  void body(json::value const& value, place const& around) {
    around.need(value.is_array(), "not a body, which is an array of statements");
    around.need(around.depth < deepest, "nested more than " + std::to_string(deepest) + " deep");
    deepest_seen = std::max(deepest_seen, around.depth);
    auto const& statements = value.as_array();
    for (std::size_t i = 0; i < statements.size(); ++i) {
      statement(statements[i], around.in("[" + std::to_string(i) + "]"));
    }
  }

 private:
  void statement(json::value const& value, place const& here) {
    auto const* const words = value.if_array();
    here.need(words != nullptr && !words->empty() && (*words)[0].is_string(),
              "not a statement, which is an array with its name in front");
    std::string const name((*words)[0].as_string());
    auto const found = arguments().find(name);
    here.need(found != arguments().end(), "there is no statement '" + name + "'");

    auto const wanted = found->second;
    auto const optional = std::min(wanted.find('?'), wanted.size());
    auto const most = wanted.size() - (optional < wanted.size() ? 1 : 0);
    here.need(words->size() - 1 >= optional && words->size() - 1 <= most,
              "'" + name + "' has another number of arguments");
    stands_well(name, *words, here);
    auto const inside = around_body(name, *words, here);
    for (std::size_t i = 1; i < words->size(); ++i) {
      auto const kind = wanted[i - 1 < optional ? i - 1 : i];
      argument(kind, (*words)[i], inside.in("[" + std::to_string(i) + "]"));
    }
  }

  static void stands_well(std::string const& name, json::array const& words, place const& here) {
    if (name == "start") here.need(here.group, "'start' outside of a group");
    if (name == "reschedule") here.need(here.timeout, "'reschedule' outside of a timeout");
    if (name == "reraise") here.need(here.handler, "'reraise' outside of a handler");
    if (name != "lock" && name != "cond_wait" && name != "cond_notify") return;
    here.need(words[1].is_string(), "'" + name + "' without a name");
    bool const held = here.held.contains(std::string(words[1].as_string()));
    here.need(held != (name == "lock"),
              name == "lock" ? "a lock that is held already" : "'" + name + "' outside of its lock");
  }

  static place around_body(std::string const& name, json::array const& words, place here) {
    ++here.depth;
    if (name == "spawn" || name == "start") {
      place inside{here.path, here.depth};
      inside.group = name == "start";
      return inside;
    }
    here.group = here.group || name == "group";
    here.timeout = here.timeout || name == "timeout" || name == "timeout_at";
    if (name == "lock") here.held.emplace(words[1].as_string());
    return here;
  }

  void argument(char kind, json::value const& value, place const& here) {
    static constexpr std::array<std::string_view, 5> errors = {"E1", "E2", "E3", "timeout", "cancelled"};
    static constexpr std::array<std::string_view, 3> modes = {"all", "first_completed", "first_exception"};
    auto const is_one_of = [&](auto const& words) {
      return value.is_string() && std::find(words.begin(), words.end(), value.as_string()) != words.end();
    };
    switch (kind) {
      case 'n':
        return here.need(value.is_string(), "not a name");
      case 'l':
        here.need(value.is_array(), "not a list of names");
        for (auto const& each : value.as_array()) here.need(each.is_string(), "not a list of names");
        return;
      case 'v':
        return here.need(value.is_null() || value.is_string() || value.is_int64(),
                         "not a value: a number, a string or null");
      case 'i':
        return number(value, here);
      case 't':
        return value.is_null() ? void() : number(value, here);
      case 'f':
        return here.need(value.is_bool(), "neither true nor false");
      case 'k':
        return here.need(is_one_of(errors), "not a kind of error");
      case 'm':
        return here.need(is_one_of(modes), "not what 'wait' can wait for");
      case 'c':
        return clauses(value, here);
      default:
        return body(value, here);
    }
  }

  static void number(json::value const& value, place const& here) {
    here.need(value.is_int64() && value.as_int64() <= latest && value.as_int64() >= -latest,
              "not a whole number of at most " + std::to_string(latest));
  }

  void clauses(json::value const& value, place const& here) {
    static constexpr std::array<std::string_view, 5> handlers = {"cancelled", "error", "timeout", "group", "any"};
    here.need(value.is_object(), "not clauses, which are an object of bodies");
    for (auto const& [clause, handler] : value.as_object()) {
      auto inside = here.in("." + std::string(clause));
      if (clause != "finally") {
        here.need(std::find(handlers.begin(), handlers.end(), clause) != handlers.end(), "no clause of 'try'");
        inside.handler = true;
      }
      body(handler, inside);
    }
  }
};

void check_sizes(json::object const& scenario, char const* kind, std::int64_t least) {
  auto const* const sizes = scenario.if_contains(kind);
  if (sizes == nullptr) return;
  place const here{kind};
  here.need(sizes->is_object(), "not an object of sizes");
  for (auto const& [name, size] : sizes->as_object()) {
    here.in("." + std::string(name))
        .need(size.is_int64() && size.as_int64() >= least && size.as_int64() <= latest, "not a size it can have");
  }
}

}  // namespace

std::size_t check(json::value const& value) {
  auto const* const scenario = value.if_object();
  if (scenario == nullptr) throw unplayable("a scenario is an object");
  auto const* const name = scenario->if_contains("name");
  if (name == nullptr || !name->is_string()) throw unplayable("a scenario has a name, which is a string");
  auto const* const main = scenario->if_contains("main");
  if (main == nullptr) throw unplayable("a scenario has a 'main'");
  check_sizes(*scenario, "queues", -latest);
  check_sizes(*scenario, "sems", 0);
  check_sizes(*scenario, "barriers", 1);
  checker checking;
  checking.body(*main, place{"main"});
  return checking.deepest_seen;
}

}  // namespace parity
