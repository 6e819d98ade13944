// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <fibers/detail/parts/cxx20.hpp>
#include <limits>

namespace fibers {

/// As a capacity, a bound or a limit: none. It fits into std::ptrdiff_t, too.
inline constexpr std::size_t unbounded = std::numeric_limits<std::ptrdiff_t>::max();

}  // namespace fibers
