// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/memory.hpp>
#include <fibers/error.hpp>
#include <fibers/exception_group.hpp>

namespace fibers {

namespace {

using error_list = std::vector<std::exception_ptr>;

// The group that an error is, if it is one.
std::optional<exception_group> as_group(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (exception_group const& group) {
    return group;
  } catch (...) {
    return {};
  }
}

bool is_cancellation(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (cancelled_error const&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::string says(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    return e.what();
  } catch (...) {
    return "an exception of another type";
  }
}

std::string describe(std::string const& message, error_list const& errors) {
  constexpr std::size_t most = 3;
  std::string text =
      message + " (" + std::to_string(errors.size()) + (errors.size() == 1 ? " exception" : " exceptions");
  for (std::size_t i = 0; i < errors.size() && i < most; ++i) text += (i == 0 ? ": " : "; ") + says(errors[i]);
  if (errors.size() > most) text += "; …";
  return text + ")";
}

error_list const& checked(error_list const& errors) {
  if (errors.empty()) throw std::invalid_argument("fibers: an exception_group needs at least one exception");
  for (auto const& error : errors) {
    if (error == nullptr) throw std::invalid_argument("fibers: an exception_group cannot hold a null exception_ptr");
    if (is_cancellation(error)) {
      throw std::invalid_argument(
          "fibers: a cancelled_error is no error: rethrow it, instead of putting it in a group");
    }
  }
  return errors;
}

std::exception_ptr as_error(exception_group const& group) { return std::make_exception_ptr(group); }

// Nested groups are walked by loops, which keep the way back: a task's stack is too short for that.
void check_depth(std::size_t levels) {
  if (levels > 1000) throw std::length_error("fibers: exception groups are nested too deeply");
}

// A group that is being split.
struct half_split {
  exception_group whole;
  std::exception_ptr error;  // what it is in the group around it
  std::size_t next = 0;
  error_list matching = {};
  error_list rest = {};

  void add(exception_group::parts const& nested, std::exception_ptr const& nested_error) {
    if (nested.first) matching.push_back(nested.second ? as_error(*nested.first) : nested_error);
    if (nested.second) rest.push_back(nested.first ? as_error(*nested.second) : nested_error);
  }
  exception_group::parts finish() {
    if (rest.empty()) return {whole, {}};
    if (matching.empty()) return {{}, whole};
    return {exception_group(whole.message(), std::move(matching)), exception_group(whole.message(), std::move(rest))};
  }
};

}  // namespace

exception_group::exception_group(std::string message, std::vector<std::exception_ptr> errors)
    : runtime_error(describe(message, checked(errors))),
      content_(std::allocate_shared<content>(detail::allocator<content>(),
                                             content{std::move(message), std::move(errors)})) {}

std::vector<std::exception_ptr> exception_group::leaves() const {
  error_list found;
  std::vector<std::pair<exception_group, std::size_t>> path{{*this, 0}};
  while (!path.empty()) {
    check_depth(path.size());
    auto& [group, next] = path.back();
    if (next == group.exceptions().size()) {
      path.pop_back();
      continue;
    }
    auto const& error = group.exceptions()[next++];
    if (auto nested = as_group(error)) {
      path.emplace_back(std::move(*nested), 0);
    } else {
      found.push_back(error);
    }
  }
  return found;
}

exception_group::parts exception_group::split(std::function<bool(std::exception_ptr const&)> const& matches) const {
  std::vector<half_split> path;
  path.push_back({.whole = *this, .error = nullptr});
  for (;;) {
    check_depth(path.size());
    auto& group = path.back();
    if (group.next == group.whole.exceptions().size()) {
      auto halves = group.finish();
      auto const error = std::move(group.error);
      path.pop_back();
      if (path.empty()) return halves;
      path.back().add(halves, error);
      continue;
    }
    auto const& error = group.whole.exceptions()[group.next++];
    if (matches(error)) {
      group.matching.push_back(error);
    } else if (auto nested = as_group(error)) {
      path.push_back({.whole = std::move(*nested), .error = error});
    } else {
      group.rest.push_back(error);
    }
  }
}

}  // namespace fibers
