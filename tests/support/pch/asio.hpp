// SPDX-License-Identifier: BSL-1.0

// As tests.hpp, for tests that use Asio.

#include <boost/asio.hpp>
#include <fibers/asio.hpp>

#include "tests.hpp"
