// SPDX-License-Identifier: BSL-1.0
#pragma once

// Several errors as one: what a task group throws. Groups nest.
//
//   catch (fibers::exception_group const& errors) {
//     errors.for_each<std::system_error>([](auto const& e) { log(e.code()); });
//     if (auto rest = errors.split<std::system_error>().second) throw *rest;
//   }

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fibers {

/// Immutable; copies share the errors. All its functions go through nested groups, depth first and in order; for those
/// nested deeper than 1,000 levels they throw std::length_error.
class [[gnu::visibility("default")]] exception_group : public std::runtime_error {
 public:
  /// Throws std::invalid_argument if there are no errors, or one is null or a cancelled_error: being cancelled is no
  /// error.
  exception_group(std::string message, std::vector<std::exception_ptr> errors);

  /// The message, how many errors there are, and what the first ones say.
  using std::runtime_error::what;
  std::string const& message() const noexcept { return content_->message; }

  /// The direct members, in the order in which they came.
  std::vector<std::exception_ptr> const& exceptions() const noexcept { return content_->errors; }

  /// All that are no groups, nested groups opened up.
  std::vector<std::exception_ptr> leaves() const;

  /// Is there an E (or what derives from it) in it?
  template <class E>
  bool contains() const {
    return split<E>().first.has_value();
  }

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
  struct content {
    std::string message;
    std::vector<std::exception_ptr> errors;
  };

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

  std::shared_ptr<content const> content_;
};

}  // namespace fibers
