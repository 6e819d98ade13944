// SPDX-License-Identifier: BSL-1.0
#pragma once

// Several errors as one exception, as task groups throw it. Groups nest.
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

/// Several errors as one exception. Immutable; copies share the errors.
///
/// All functions traverse nested groups, depth first and in order. Groups may be nested to any depth: no function, and
/// no destructor, recurses.
class [[gnu::visibility("default")]] exception_group : public std::runtime_error {
 public:
  /// Throws std::invalid_argument if there are no errors, or if one is null or a cancelled_error: a cancellation is not
  /// an error.
  exception_group(std::string message, std::vector<std::exception_ptr> errors);
  exception_group(exception_group const&) noexcept = default;
  exception_group& operator=(exception_group const&) noexcept = default;

  /// Returns the message, the number of errors, and the texts of the first three, each limited to 500 bytes.
  using std::runtime_error::what;
  std::string const& message() const noexcept;

  /// Returns the direct members, in the order of the constructor's argument.
  std::vector<std::exception_ptr> const& exceptions() const noexcept;

  /// Returns the errors that are not groups themselves, of this and all nested groups, depth first.
  std::vector<std::exception_ptr> leaves() const;

  /// Returns whether there is an error of type E, or of a type derived from E.
  template <class E>
  bool contains() const {
    return contains([](std::exception_ptr const& error) { return is<E>(error); });
  }

  /// Returns whether the predicate holds for an error or a nested group.
  bool contains(std::function<bool(std::exception_ptr const&)> const& matches) const;

  /// The result of split(): the part that matches and the rest, each possibly empty.
  ///
  /// Each part has the message and the nesting of the whole. A nested group that itself matches is taken whole.
  using parts = std::pair<std::optional<exception_group>, std::optional<exception_group>>;
  template <class E>
  parts split() const {
    return split([](std::exception_ptr const& error) { return is<E>(error); });
  }
  parts split(std::function<bool(std::exception_ptr const&)> const& matches) const;

  /// Calls f with each leaf that is an E. Returns the number of calls.
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
