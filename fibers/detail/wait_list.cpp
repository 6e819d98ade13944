// SPDX-License-Identifier: BSL-1.0

#include <fibers/detail/wait_list.hpp>

namespace fibers::detail {

wait_list::~wait_list() {
  while (!entries_.empty()) {
    auto& first = entries_.front();
    entries_.pop_front();
    first.orphaned.store(true);  // before it can run again: it must not look for the list
    if (first.sleeper.try_claim(claim::destroyed)) wake(first);
  }
}

}  // namespace fibers::detail
