// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <fibers/detail/parts/cxx20.hpp>
#include <limits>

namespace fibers {

/// A capacity, bound or limit that is never reached. The value fits into std::ptrdiff_t.
inline constexpr std::size_t unbounded = std::numeric_limits<std::ptrdiff_t>::max();

}  // namespace fibers
