// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace fuzz {

/// The bytes of one task.
class tape {
 public:
  explicit tape(std::span<std::uint8_t const> bytes) : bytes_(bytes) {}

  bool over() const { return bytes_.empty(); }

  /// Returns a number below `sides`; 0 at the end of the bytes.
  unsigned choose(unsigned sides) {
    if (sides < 2 || over()) return 0;
    unsigned const byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte % sides;
  }

  /// Splits off the next bytes, for another task.
  tape cut() {
    std::size_t const wanted = choose(64);  // takes a byte before the rest is measured
    auto const size = std::min(wanted, bytes_.size());
    tape const part(bytes_.first(size));
    bytes_ = bytes_.subspan(size);
    return part;
  }

 private:
  std::span<std::uint8_t const> bytes_;
};

}  // namespace fuzz
