// SPDX-License-Identifier: BSL-1.0

#include <fibers/latch.hpp>
#include <stdexcept>

namespace fibers {

latch::latch(std::ptrdiff_t count) : count_(count) {
  if (count < 0) throw std::invalid_argument("fibers: latch: the count must be 0 or more");
  if (count == 0) zero_.set();
}

void latch::count_down(std::ptrdiff_t n) {
  std::unique_lock guard(lock_);
  if (n < 0 || n > count_) {
    throw std::invalid_argument("fibers: latch::count_down(): the number must be at least 0 and at most what is left");
  }
  if (n == 0) return;
  count_ -= n;
  bool const last = count_ == 0;
  guard.unlock();
  if (last) zero_.set();  // the last touch
}

void latch::arrive_and_wait(std::ptrdiff_t n, boost::source_location const& place) {
  detail::enter(place);
  count_down(n);
  wait(place);
}

}  // namespace fibers
