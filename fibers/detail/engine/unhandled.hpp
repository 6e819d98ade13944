// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <exception>
#include <functional>
#include <string>

namespace fibers {
using unhandled_exception_hook = std::function<void(std::string const& task, std::exception_ptr error)>;
}

namespace fibers::detail {

class task_state;

/// Reports an error that is never fetched to the hook, or on stderr if there is none or it throws.
void report_unhandled(unhandled_exception_hook const* hook, task_state& task, std::exception_ptr const& error,
                      char const* where = "") noexcept;

/// The same for an error from `source`; `sentence` is printed on stderr.
void report_unhandled(unhandled_exception_hook const* hook, std::string const& source, std::exception_ptr const& error,
                      std::string const& sentence) noexcept;

/// The exception's what(), or its type.
std::string describe(std::exception_ptr const& error);

}  // namespace fibers::detail
