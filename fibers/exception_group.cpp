// SPDX-License-Identifier: BSL-1.0

// Groups may be nested deeper than a stack allows, so traversals are iterative, and so is destruction: a group owns the
// contents of the groups in it, beside the exceptions that hold these. A content therefore outlives its exception, and
// is destroyed by the loop in intrusive_ptr_release().

#include <fibers/detail/parts/memory.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <fibers/error.hpp>
#include <fibers/exception_group.hpp>
#include <memory>

namespace fibers {

namespace {

using error_list = std::vector<std::exception_ptr>;
using content_ptr = boost::intrusive_ptr<detail::group_content const>;

}  // namespace

// The shared state of a group's copies.
class detail::group_content : public from_memory {
 public:
  group_content(std::string m, error_list e) : message(std::move(m)), errors(std::move(e)) {
    if (errors.empty()) throw std::invalid_argument("fibers: an exception_group needs at least one exception");
    nested.reserve(errors.size());
    for (auto const& error : errors) nested.push_back(checked(error));
  }

  std::string const message;
  error_list errors;
  std::vector<content_ptr, allocator<content_ptr>> nested;  // per error: the content of a group, null otherwise

 private:
  friend void intrusive_ptr_add_ref(group_content const* content) noexcept;
  friend void intrusive_ptr_release(group_content const* content) noexcept;

  // Returns the content if the error is a group, null otherwise.
  static content_ptr checked(std::exception_ptr const& error) {
    if (error == nullptr) throw std::invalid_argument("fibers: an exception_group cannot hold a null exception_ptr");
    try {
      std::rethrow_exception(error);
    } catch (exception_group const& group) {
      return group.content_;
    } catch (cancelled_error const&) {
      throw std::invalid_argument(
          "fibers: a cancelled_error is no error: rethrow it, instead of putting it in a group");
    } catch (...) {
      return nullptr;
    }
  }

  mutable reference_count owners_;
  mutable group_content const* next_dead_ = nullptr;
};

void detail::intrusive_ptr_add_ref(group_content const* content) noexcept { content->owners_.add(); }

void detail::intrusive_ptr_release(group_content const* content) noexcept {
  auto const* dead = content->owners_.remove() ? content : nullptr;
  while (dead != nullptr) {
    std::unique_ptr<group_content> const last(const_cast<group_content*>(dead));
    dead = last->next_dead_;
    last->errors.clear();  // the contents of groups among them are still owned by `nested`
    for (auto& each : last->nested) {
      auto const* const inner = each.detach();
      if (inner == nullptr || !inner->owners_.remove()) continue;
      inner->next_dead_ = std::exchange(dead, inner);
    }
  }
}

namespace {

// The error's text, limited at a character boundary: a group's text would otherwise contain those of all groups in it.
std::string says(std::exception_ptr const& error) {
  constexpr std::size_t most = 500;
  std::string text;
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    text = e.what();
  } catch (...) {
    return "an exception of another type";
  }
  if (text.size() <= most) return text;
  auto end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u) --end;  // within a character of UTF-8
  return text.substr(0, end) + "…";
}

std::string describe(detail::group_content const& content) {
  constexpr std::size_t most = 3;
  auto const& errors = content.errors;
  std::string text =
      content.message + " (" + std::to_string(errors.size()) + (errors.size() == 1 ? " exception" : " exceptions");
  for (std::size_t i = 0; i < errors.size() && i < most; ++i) text += (i == 0 ? ": " : "; ") + says(errors[i]);
  if (errors.size() > most) text += "; …";
  return text + ")";
}

// Calls visit(error, is_group) for each error, depth first and in order; skips a group whose visit returns false.
template <class Visit>
void walk(detail::group_content const& whole, Visit visit) {
  struct position {
    detail::group_content const* group;
    std::size_t next;
  };
  std::vector<position> path{{&whole, 0}};
  while (!path.empty()) {
    auto& [group, next] = path.back();
    if (next == group->errors.size()) {
      path.pop_back();
      continue;
    }
    auto const& error = group->errors[next];
    auto const* const nested = group->nested[next++].get();
    if (visit(error, nested != nullptr) && nested != nullptr) path.push_back({nested, 0});
  }
}

// A group during its split.
struct half_split {
  detail::group_content const& whole;
  std::exception_ptr error = nullptr;  // the group as an error of the enclosing group
  std::size_t next = 0;
  error_list matching = {};
  error_list rest = {};
};

}  // namespace

exception_group::exception_group(content_ptr content) : runtime_error(describe(*content)), content_(content) {}

exception_group::exception_group(std::string message, std::vector<std::exception_ptr> errors)
    : exception_group(content_ptr(new detail::group_content(std::move(message), std::move(errors)))) {}

std::string const& exception_group::message() const noexcept { return content_->message; }

std::vector<std::exception_ptr> const& exception_group::exceptions() const noexcept { return content_->errors; }

std::vector<std::exception_ptr> exception_group::leaves() const {
  error_list found;
  walk(*content_, [&](std::exception_ptr const& error, bool is_group) {
    if (!is_group) found.push_back(error);
    return true;
  });
  return found;
}

bool exception_group::contains(std::function<bool(std::exception_ptr const&)> const& matches) const {
  bool found = false;
  walk(*content_, [&](std::exception_ptr const& error, bool) {
    found = found || matches(error);
    return !found;
  });
  return found;
}

exception_group::parts exception_group::split(std::function<bool(std::exception_ptr const&)> const& matches) const {
  std::vector<half_split> path;
  path.push_back({.whole = *content_});
  for (;;) {
    auto& group = path.back();
    if (group.next < group.whole.errors.size()) {
      auto const& error = group.whole.errors[group.next];
      auto const* const nested = group.whole.nested[group.next++].get();
      if (matches(error)) {
        group.matching.push_back(error);
      } else if (nested == nullptr) {
        group.rest.push_back(error);
      } else {
        path.push_back({.whole = *nested, .error = error});
      }
      continue;
    }

    auto done = std::move(path.back());
    path.pop_back();
    auto const part = [&](error_list& errors) { return exception_group(done.whole.message, std::move(errors)); };
    if (path.empty()) {
      if (done.rest.empty()) return {*this, {}};
      if (done.matching.empty()) return {{}, *this};
      return {part(done.matching), part(done.rest)};
    }
    auto& outer = path.back();
    if (done.rest.empty()) {
      outer.matching.push_back(done.error);
    } else if (done.matching.empty()) {
      outer.rest.push_back(done.error);
    } else {
      outer.matching.push_back(std::make_exception_ptr(part(done.matching)));
      outer.rest.push_back(std::make_exception_ptr(part(done.rest)));
    }
  }
}

}  // namespace fibers
