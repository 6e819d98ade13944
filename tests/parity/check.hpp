// SPDX-License-Identifier: BSL-1.0
#pragma once

// Validates a whole scenario before it is played, so that the player need not check: each statement is known, has the
// right arguments, and stands where it is allowed.

#include <boost/json/value.hpp>
#include <cstddef>
#include <stdexcept>

namespace parity {

/// Says why a scenario cannot be played, and where: "main[2][1][0]: …".
struct unplayable : std::runtime_error {
  using runtime_error::runtime_error;
};

/// The limit for nested bodies.
inline constexpr std::size_t deepest = 1000;

/// The limit for times and numbers, in milliseconds. Twice as much still fits the clock.
inline constexpr std::int64_t latest = 4'000'000'000'000;

/// Throws unplayable. Returns the depth to which bodies are nested.
std::size_t check(boost::json::value const& scenario);

}  // namespace parity
