// SPDX-License-Identifier: BSL-1.0
#pragma once

// Can a scenario be played? Looked at as a whole beforehand, so that playing need not look: each statement is known,
// has the arguments that it takes, and stands where it may.

#include <boost/json/value.hpp>
#include <cstddef>
#include <stdexcept>

namespace parity {

/// Why not, and where: "main[2][1][0]: …".
struct unplayable : std::runtime_error {
  using runtime_error::runtime_error;
};

/// How deep bodies may be nested.
inline constexpr std::size_t deepest = 1000;

/// Times and numbers up to this many milliseconds; twice as much still fits the clock.
inline constexpr std::int64_t latest = 4'000'000'000'000;

/// Throws unplayable. Returns how deep its bodies are nested.
std::size_t check(boost::json::value const& scenario);

}  // namespace parity
