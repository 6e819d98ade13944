// SPDX-License-Identifier: BSL-1.0

// Precompiled for the tests: compiling these headers takes most of a test's time.

#include <atomic>
#include <chrono>
#include <fibers/fibers.hpp>
#include <fibers/testing.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "../catch.hpp"
