// SPDX-License-Identifier: BSL-1.0
#pragma once

// The outcome of a task as a value: its result or its exception.

#include <boost/system/result.hpp>
#include <exception>
#include <fibers/detail/parts/cxx20.hpp>

namespace fibers {

/// A value or an exception; value() returns the value or throws the exception.
template <class T>
using outcome = boost::system::result<T, std::exception_ptr>;

}  // namespace fibers
