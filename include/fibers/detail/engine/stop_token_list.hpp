// SPDX-License-Identifier: BSL-1.0
#pragma once

// The stop tokens of a task that may still be stopped: at most one for each of its scopes.

#include <fibers/detail/parts/memory.hpp>
#include <memory>
#include <stop_token>
#include <utility>

namespace fibers::detail {

struct cancel_scope;

class stop_token_list {
 public:
  bool empty() const noexcept { return first_ == nullptr; }

  /// The source of the scope's token. Has no state if there is none.
  std::stop_source find(cancel_scope const& scope) const noexcept {
    for (auto* each = first_.get(); each != nullptr; each = each->next.get()) {
      if (each->scope == &scope) return each->source;
    }
    return std::stop_source(std::nostopstate);
  }
  /// Throws std::bad_alloc.
  void add(cancel_scope& scope, std::stop_source source) {
    first_ = std::make_unique<token>(scope, std::move(source), std::move(first_));
  }
  /// Takes out the source of the first token for which is_due(scope) holds. Has no state if there is none.
  template <class IsDue>
  std::stop_source take(IsDue is_due) noexcept {
    auto* place = &first_;
    while (*place != nullptr && !is_due(*(*place)->scope)) place = &(*place)->next;
    if (*place == nullptr) return std::stop_source(std::nostopstate);
    auto const taken = std::move(*place);
    *place = std::move(taken->next);
    return taken->source;
  }

 private:
  struct token : from_memory {
    token(cancel_scope& of, std::stop_source s, std::unique_ptr<token>&& n) noexcept
        : scope(&of), source(std::move(s)), next(std::move(n)) {}

    cancel_scope* scope;
    std::stop_source source;
    std::unique_ptr<token> next;
  };

  std::unique_ptr<token> first_;
};

}  // namespace fibers::detail
