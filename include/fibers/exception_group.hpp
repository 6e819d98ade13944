// SPDX-License-Identifier: BSL-1.0
#pragma once

// Several errors as one: what a task group throws. Groups nest.
//
//   catch (fibers::exception_group const& errors) {
//     errors.for_each<std::system_error>([](auto const& e) { log(e.code()); });
//     if (auto rest = errors.split<std::system_error>().second) throw *rest;
//   }

#include <boost/intrusive_ptr.hpp>
#include <exception>
#include <fibers/detail/parts/cxx20.hpp>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fibers {

namespace detail {
class group_content;
void intrusive_ptr_add_ref(group_content const* content) noexcept;
void intrusive_ptr_release(group_content const* content) noexcept;
}  // namespace detail

/// Immutable; copies share the errors. All its functions go through nested groups, depth first and in order. Groups may
/// be nested to any depth: no function, and no destructor, recurses.
class [[gnu::visibility("default")]] exception_group : public std::runtime_error {
 public:
  /// Throws std::invalid_argument if there are no errors, or one is null or a cancelled_error: being cancelled is no
  /// error.
  exception_group(std::string message, std::vector<std::exception_ptr> errors);
  exception_group(exception_group const&) noexcept = default;
  exception_group& operator=(exception_group const&) noexcept = default;

  /// The message, how many errors there are, and what the first ones say, each cut after 500 bytes.
  using std::runtime_error::what;
  std::string const& message() const noexcept;

  /// The direct members, in the order in which they were given.
  std::vector<std::exception_ptr> const& exceptions() const noexcept;

  /// The errors of all nested groups that are not groups themselves, depth first.
  std::vector<std::exception_ptr> leaves() const;

  /// Returns whether it has an error of type E, or of a type derived from E.
  template <class E>
  bool contains() const {
    return contains([](std::exception_ptr const& error) { return is<E>(error); });
  }

  /// The same with a predicate.
  bool contains(std::function<bool(std::exception_ptr const&)> const& matches) const;

  /// The part that matches and the rest, each with the message and nesting of the whole, and each possibly empty. A
  /// nested group that matches as such is taken whole.
  using parts = std::pair<std::optional<exception_group>, std::optional<exception_group>>;
  template <class E>
  parts split() const {
    return split([](std::exception_ptr const& error) { return is<E>(error); });
  }
  parts split(std::function<bool(std::exception_ptr const&)> const& matches) const;

  /// Calls f with each leaf that is an E. Returns how many there were.
  template <class E, class F>
  std::size_t for_each(F f) const {
    std::size_t count = 0;
    for (auto const& leaf : leaves()) {
      try {
        std::rethrow_exception(leaf);
      } catch (E& error) {
        ++count;
        f(error);
      } catch (...) {
      }
    }
    return count;
  }

 private:
  friend class detail::group_content;
  explicit exception_group(boost::intrusive_ptr<detail::group_content const> content);

  template <class E>
  static bool is(std::exception_ptr const& error) {
    try {
      std::rethrow_exception(error);
    } catch (E const&) {
      return true;
    } catch (...) {
      return false;
    }
  }

  boost::intrusive_ptr<detail::group_content const> content_;
};

}  // namespace fibers
