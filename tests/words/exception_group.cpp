// SPDX-License-Identifier: BSL-1.0

// Several errors as one: its members, its text, and how it is split.

#include <fibers/error.hpp>
#include <fibers/exception_group.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "catch.hpp"
#include "record.hpp"

using Catch::Matchers::ContainsSubstring;
using fibers::exception_group;
using fibers::testing::counted;

namespace {

using errors = std::vector<std::exception_ptr>;

struct base_error : std::logic_error {
  using logic_error::logic_error;
};
struct derived_error : base_error {
  using base_error::base_error;
};

template <class E>
std::exception_ptr make(E error) {
  return std::make_exception_ptr(std::move(error));
}
std::exception_ptr logic(char const* text) { return make(std::logic_error(text)); }
std::exception_ptr range(char const* text) { return make(std::out_of_range(text)); }

exception_group group(std::string message, errors members) {
  return exception_group(std::move(message), std::move(members));
}

/// "m(a, n(b))": the message of each group, and the text of each leaf.
std::string shape(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (exception_group const& nested) {
    std::string text = nested.message() + "(";
    for (auto const& each : nested.exceptions()) text += (text.back() == '(' ? "" : ", ") + shape(each);
    return text + ")";
  } catch (std::exception const& leaf) {
    return leaf.what();
  } catch (int number) {
    return std::to_string(number);
  }
}
std::string shape(std::optional<exception_group> const& part) { return part ? shape(make(*part)) : "none"; }

template <class E>
std::string split(exception_group const& whole) {
  auto const parts = whole.split<E>();
  return shape(parts.first) + " | " + shape(parts.second);
}

// m(a, n(b, c, o(d)), e): b and d are out_of_range, the others logic_error.
exception_group sample() {
  return group("m",
               {logic("a"), make(group("n", {range("b"), logic("c"), make(group("o", {range("d")}))})), logic("e")});
}

}  // namespace

// --- members ---

TEST_CASE("exception group: is an ordinary exception, and may hold anything thrown", "[EG-01][EG-02]") {
  static_assert(std::is_base_of_v<std::runtime_error, exception_group>);
  static_assert(std::is_nothrow_copy_constructible_v<exception_group>);
  auto const mixed = group("m", {logic("a"), make(5)});
  CHECK(mixed.contains<std::logic_error>());
  CHECK(mixed.contains<int>());
  CHECK_FALSE(mixed.contains<char>());
  CHECK_THAT(mixed.what(), ContainsSubstring("an exception of another type"));
}

TEST_CASE("exception group: refuses a cancellation, which is not an error", "[EG-03]") {
  CHECK_THROWS_AS(group("m", {logic("a"), make(fibers::cancelled_error("no"))}), std::invalid_argument);
  CHECK_THROWS_WITH(group("m", {make(fibers::cancelled_error())}), ContainsSubstring("rethrow it"));
}

TEST_CASE("exception group: refuses to be empty, or to hold a null pointer", "[EG-04]") {
  CHECK_THROWS_AS(group("m", {}), std::invalid_argument);
  CHECK_THROWS_AS(group("m", {logic("a"), nullptr}), std::invalid_argument);
}

TEST_CASE("exception group: copies share their members, and later changes of the list have no effect", "[EG-05]") {
  errors list{logic("a"), logic("b")};
  auto const first = group("m", list);
  list.clear();
  auto const second = first;
  CHECK(&first.exceptions() == &second.exceptions());
  CHECK(first.exceptions().size() == 2);
  static_assert(std::is_same_v<decltype(first.exceptions()), errors const&>);
  static_assert(std::is_same_v<decltype(first.message()), std::string const&>);
}

TEST_CASE("exception group: its text is the message, the number of members, and the texts of the first ones",
          "[EG-06]") {
  CHECK(std::string(group("m", {logic("a")}).what()) == "m (1 exception: a)");
  CHECK(std::string(group("m", {logic("a"), logic("b")}).what()) == "m (2 exceptions: a; b)");
  CHECK(std::string(group("m", {logic("a"), logic("b"), logic("c"), logic("d")}).what()) ==
        "m (4 exceptions: a; b; c; …)");
  CHECK(std::string(sample().what()) == "m (3 exceptions: a; n (3 exceptions: b; c; o (1 exception: d)); e)");
}

TEST_CASE("exception group: holds the same exception objects it was given, and releases them", "[EG-07]") {
  struct heavy : std::logic_error {
    heavy() : logic_error("heavy") {}
    counted object;
  };
  {
    auto const error = make(heavy());
    auto const outer = group("m", {make(group("n", {error}))});
    CHECK(outer.leaves() == errors{error});
    CHECK(counted::alive == 1);
    auto const parts = outer.split<heavy>();
    CHECK(counted::alive == 1);
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("exception group: each member keeps its nested exceptions", "[EG-07][EG-14]") {
  std::exception_ptr nested;
  try {
    try {
      throw std::logic_error("cause");
    } catch (...) {
      std::throw_with_nested(std::out_of_range("effect"));
    }
  } catch (...) {
    nested = std::current_exception();
  }
  std::string cause;
  group("m", {logic("a"), nested}).for_each<std::out_of_range>([&](std::out_of_range const& error) {
    try {
      std::rethrow_if_nested(error);
    } catch (std::exception const& e) {
      cause = e.what();
    }
  });
  CHECK(cause == "cause");
}

// --- splitting ---

TEST_CASE("exception group: if all of it matches, or nothing, that part is the whole", "[EG-08][EG-09][EG-10]") {
  auto const whole = group("m", {logic("a"), logic("b")});
  auto const all = whole.split<std::logic_error>();
  REQUIRE(all.first.has_value());
  CHECK(&all.first->exceptions() == &whole.exceptions());
  CHECK_FALSE(all.second.has_value());
  auto const nothing = whole.split<int>();
  CHECK_FALSE(nothing.first.has_value());
  REQUIRE(nothing.second.has_value());
  CHECK(&nothing.second->exceptions() == &whole.exceptions());
}

TEST_CASE("exception group: splits by type, and each leaf is in one part", "[EG-08][EG-10][EG-11]") {
  CHECK(split<std::out_of_range>(sample()) == "m(n(b, o(d))) | m(a, n(c), e)");
  CHECK(split<std::logic_error>(sample()) == "m(a, n(b, c, o(d)), e) | none");
  CHECK(split<std::bad_alloc>(sample()) == "none | m(a, n(b, c, o(d)), e)");
  CHECK(split<int>(group("m", {make(group("n", {make(5)})), logic("a")})) == "m(n(5)) | m(a)");
}

TEST_CASE("exception group: splits by any predicate", "[EG-09][EG-10]") {
  auto const [found, rest] = sample().split([](std::exception_ptr const& error) {
    auto const text = shape(error);
    return text == "a" || text == "c";
  });
  CHECK(shape(found) == "m(a, n(c))");
  CHECK(shape(rest) == "m(n(b, o(d)), e)");
}

TEST_CASE("exception group: a nested group that matches as such is taken whole", "[EG-12]") {
  CHECK(split<exception_group>(sample()) == "m(n(b, c, o(d))) | m(a, e)");
  auto const [found, rest] = sample().split([](std::exception_ptr const& error) { return shape(error) == "o(d)"; });
  CHECK(shape(found) == "m(n(o(d)))");
  CHECK(shape(rest) == "m(a, n(b, c), e)");
}

TEST_CASE("exception group: parts have the message and members of the whole, and empty groups are dropped",
          "[EG-11][EG-13][EG-14]") {
  auto const kept = range("b");
  auto const parts = group("m", {make(5), make(group("n", {kept}))}).split<std::out_of_range>();
  REQUIRE(parts.first.has_value());
  CHECK(parts.first->message() == "m");
  CHECK(std::string(parts.first->what()) == "m (1 exception: n (1 exception: b))");
  CHECK(parts.first->leaves() == errors{kept});
  CHECK(shape(parts.second) == "m(5)");
}

TEST_CASE("exception group: parts of a derived class are plain groups", "[EG-15]") {
  struct special : exception_group {
    special() : exception_group("m", {logic("a"), range("b")}) {}
  };
  auto const parts = special().split<std::out_of_range>();
  static_assert(std::is_same_v<decltype(parts.first)::value_type, exception_group>);
  CHECK(shape(parts.first) == "m(b)");
  CHECK(shape(make(group("outer", {make(special())}))) == "outer(m(a, b))");
}

TEST_CASE("exception group: leaves come depth first, in order", "[EG-16]") {
  std::string text;
  for (auto const& leaf : sample().leaves()) text += shape(leaf);
  CHECK(text == "abcde");
}

TEST_CASE("exception group: contains searches leaves and nested groups, and base classes match", "[EG-18]") {
  auto const whole = group("m", {make(group("n", {make(derived_error("d"))}))});
  CHECK(whole.contains<derived_error>());
  CHECK(whole.contains<base_error>());
  CHECK(whole.contains<exception_group>());
  CHECK_FALSE(whole.contains<std::out_of_range>());
  CHECK_FALSE(group("m", {logic("a")}).contains<exception_group>());  // not itself
}

TEST_CASE("exception group: for_each passes each leaf of a type by that type, and counts", "[EG-16][EG-18]") {
  std::string text;
  auto const note = [&](std::exception const& error) { text += error.what(); };
  CHECK(sample().for_each<std::out_of_range>(note) == 2);
  CHECK(text == "bd");
  CHECK(sample().for_each<std::logic_error>(note) == 5);
  CHECK(text == "bdabcde");
  CHECK(sample().for_each<std::bad_alloc>(note) == 0);
  int sum = 0;
  CHECK(group("m", {make(5), make(7), logic("a")}).for_each<int>([&](int number) { sum += number; }) == 2);
  CHECK(sum == 12);
}

TEST_CASE("exception group: an exception of the function given to for_each propagates", "[EG-21]") {
  CHECK_THROWS_AS(sample().for_each<std::out_of_range>([](auto const&) { throw std::bad_alloc(); }), std::bad_alloc);
}

// --- handlers ---

TEST_CASE("exception group: a handler takes its part, and the rest propagates in its structure",
          "[EG-17][EG-18][EG-20]") {
  std::string handled, rest;
  try {
    try {
      throw sample();
    } catch (exception_group const& all) {
      auto const [mine, others] = all.split<std::out_of_range>();
      if (mine) handled = shape(mine);
      if (others) throw *others;
    }
  } catch (exception_group const& others) {
    rest = shape(others);
  }
  CHECK(handled == "m(n(b, o(d)))");
  CHECK(rest == "m(a, n(c), e)");
}

TEST_CASE("exception group: of several handlers, each leaf goes to the first that matches", "[EG-18]") {
  auto const whole = group("m", {make(derived_error("d")), make(base_error("b")), logic("l"), make(5)});
  auto const [derived, not_derived] = whole.split<derived_error>();
  REQUIRE(not_derived.has_value());
  auto const [based, not_based] = not_derived->split<base_error>();
  REQUIRE(not_based.has_value());
  CHECK(shape(derived) == "m(d)");
  CHECK(shape(based) == "m(b)");
  CHECK(shape(not_based) == "m(l, 5)");
}

TEST_CASE("exception group: exceptions of handlers propagate together with the rest, as a group of both", "[EG-21]") {
  auto const [mine, others] = sample().split<std::out_of_range>();
  REQUIRE(others.has_value());
  CHECK(shape(make(group("", {make(std::runtime_error("new")), make(*others)}))) == "(new, m(a, n(c), e))");
}

TEST_CASE("exception group: leaves that are handled twice are whole again", "[EG-20]") {
  auto const [mine, others] = sample().split<std::out_of_range>();
  REQUIRE((mine.has_value() && others.has_value()));
  std::size_t count = 0;
  for (auto const* const part : {&*mine, &*others}) count += part->leaves().size();
  CHECK(count == sample().leaves().size());
}

// --- depth ---

namespace {

// Returns `levels` groups, one in the other, around an error "a".
exception_group nested(int levels) {
  auto whole = group("m", {logic("a")});
  for (int i = 1; i < levels; ++i) whole = group("m", {make(whole)});
  return whole;
}

constexpr int very_deep = 20'000;  // levels: far more than nested calls on any stack

}  // namespace

TEST_CASE_METHOD(fibers::testing::virtual_time,
                 "exception group: a very deep group can be walked, searched and split, also in a task", "[EG-22]") {
  std::size_t leaves = 0, found = 0;
  bool contains = false, contains_another = true;
  exception_group::parts whole, apart;
  auto const deep = nested(very_deep);
  auto const mixed = group("m", {make(5), make(deep)});
  run([&] {
    leaves = deep.leaves().size();
    contains = deep.contains<std::logic_error>();
    contains_another = deep.contains<std::bad_alloc>();
    found = deep.for_each<std::logic_error>([](auto const&) {});
    whole = deep.split<std::logic_error>();
    apart = mixed.split<int>();
  });
  CHECK(leaves == 1);
  CHECK(found == 1);
  CHECK(contains);
  CHECK_FALSE(contains_another);
  CHECK(whole.first.has_value());
  CHECK_FALSE(whole.second.has_value());
  CHECK(shape(apart.first) == "m(5)");
  CHECK(apart.second->leaves() == deep.leaves());
}

TEST_CASE_METHOD(fibers::testing::virtual_time,
                 "exception group: a very deep group is destroyed in a task, with its members", "[EG-22]") {
  struct heavy : std::logic_error {
    heavy() : logic_error("heavy") {}
    counted object;
  };
  int before = 0;
  run([&] {
    auto whole = group("m", {make(heavy())});
    for (int i = 1; i < very_deep; ++i) whole = group("m", {make(heavy()), make(whole), make(whole)});
    before = counted::alive;
  });
  CHECK(before == very_deep);
  CHECK(counted::alive == 0);
}

TEST_CASE("exception group: members shared by several groups live as long as the last group", "[EG-07]") {
  auto const inner = nested(3);
  auto outer = std::make_unique<exception_group>(group("o", {make(inner), make(group("p", {make(inner)}))}));
  CHECK(shape(make(*outer)) == "o(m(m(m(a))), p(m(m(m(a)))))");
  outer.reset();
  CHECK(shape(make(inner)) == "m(m(m(a)))");
}

TEST_CASE("exception group: its text is truncated between characters, and stays short however deep groups are nested",
          "[EG-06]") {
  CHECK(std::string(nested(very_deep).what()).size() < 600);
  std::string euros;
  for (int i = 0; i < 200; ++i) euros += "€";  // 3 bytes each
  auto const text = std::string(group("m", {logic(euros.c_str())}).what());
  CHECK(text == "m (1 exception: " + euros.substr(0, 498) + "…)");
}
