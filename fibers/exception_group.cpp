// SPDX-License-Identifier: BSL-1.0

#include <fibers/error.hpp>
#include <fibers/exception_group.hpp>

namespace fibers {

namespace {

using error_list = std::vector<std::exception_ptr>;

constexpr int deepest = 1000;

[[noreturn]] void throw_too_deep() { throw std::length_error("fibers: exception groups are nested too deeply"); }

// The group that an error is, or null.
std::shared_ptr<exception_group const> as_group(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (exception_group const& group) {
    return {std::make_shared<exception_group const>(group)};
  } catch (...) {
    return nullptr;
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

void add_leaves(error_list const& errors, error_list& leaves, int depth) {
  if (depth > deepest) throw_too_deep();
  for (auto const& error : errors) {
    if (auto const group = as_group(error)) {
      add_leaves(group->exceptions(), leaves, depth + 1);
    } else {
      leaves.push_back(error);
    }
  }
}

std::exception_ptr as_error(exception_group const& group) { return std::make_exception_ptr(group); }

exception_group::parts split_group(exception_group const& whole,
                                   std::function<bool(std::exception_ptr const&)> const& matches, int depth) {
  if (depth > deepest) throw_too_deep();
  error_list matching;
  error_list rest;
  for (auto const& error : whole.exceptions()) {
    if (matches(error)) {
      matching.push_back(error);
    } else if (auto const group = as_group(error)) {
      auto const parts = split_group(*group, matches, depth + 1);
      if (parts.first) matching.push_back(parts.second ? as_error(*parts.first) : error);
      if (parts.second) rest.push_back(parts.first ? as_error(*parts.second) : error);
    } else {
      rest.push_back(error);
    }
  }
  if (rest.empty()) return {whole, {}};
  if (matching.empty()) return {{}, whole};
  return {exception_group(whole.message(), std::move(matching)), exception_group(whole.message(), std::move(rest))};
}

}  // namespace

exception_group::exception_group(std::string message, std::vector<std::exception_ptr> errors)
    : runtime_error(describe(message, checked(errors))),
      content_(std::make_shared<content>(content{std::move(message), std::move(errors)})) {}

std::vector<std::exception_ptr> exception_group::leaves() const {
  error_list found;
  add_leaves(exceptions(), found, 1);
  return found;
}

exception_group::parts exception_group::split(std::function<bool(std::exception_ptr const&)> const& matches) const {
  return split_group(*this, matches, 1);
}

}  // namespace fibers
