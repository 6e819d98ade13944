// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/engine/wait_list.hpp>

namespace fibers::detail {

wait_list::~wait_list() {
  while (auto* const first = pop()) {
    bool const claimed = first->sleeper.try_claim(claim::destroyed);
    orphan(*first);  // before it can run again: it must not look for the list
    if (claimed) wake(*first);
  }
}

}  // namespace fibers::detail
