// SPDX-License-Identifier: BSL-1.0
#pragma once

// Exceptions that no task fetches are reported: to the hook, or to stderr.

#include <exception>
#include <functional>
#include <string>

namespace fibers {

/// Called with an exception that left a task and was never fetched, when the last handle is destroyed, on that thread.
/// An exception that the hook throws is reported on stderr.
using unhandled_exception_hook = std::function<void(std::string const& task, std::exception_ptr error)>;

namespace detail {

/// Calls the hook with the source and the error. Without a hook, or if it throws, prints the sentence and the error to
/// stderr. Thread-safe.
void report_unhandled(unhandled_exception_hook const* hook, std::string const& source, std::exception_ptr const& error,
                      std::string const& sentence) noexcept;

/// The number of exceptions in this process so far that were never fetched. Thread-safe.
unsigned long unhandled_count() noexcept;

/// Returns what() of the exception, or the name of its type.
std::string describe(std::exception_ptr const& error);

}  // namespace detail

}  // namespace fibers
