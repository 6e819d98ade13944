// SPDX-License-Identifier: BSL-1.0
#pragma once

// How a task ended, as a value: what it returned, or what left it.

#include <boost/system/result.hpp>
#include <exception>
#include <fibers/detail/parts/cxx20.hpp>

namespace fibers {

/// A value or an exception; value() gives the one or throws the other.
template <class T>
using outcome = boost::system::result<T, std::exception_ptr>;

}  // namespace fibers
