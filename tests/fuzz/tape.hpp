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

  /// Less than `sides`; once it is over, 0.
  unsigned choose(unsigned sides) {
    if (sides < 2 || over()) return 0;
    unsigned const byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte % sides;
  }

  /// The next bytes, for somebody else.
  tape cut() {
    std::size_t const wanted = choose(64);  // takes a byte, before the rest is measured
    auto const size = std::min(wanted, bytes_.size());
    tape const part(bytes_.first(size));
    bytes_ = bytes_.subspan(size);
    return part;
  }

 private:
  std::span<std::uint8_t const> bytes_;
};

}  // namespace fuzz
