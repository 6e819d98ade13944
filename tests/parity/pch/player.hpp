// SPDX-License-Identifier: BSL-1.0

// Precompiled for the player: these headers take most of its compile time.

#include <boost/json.hpp>

#include "../statement.hpp"
