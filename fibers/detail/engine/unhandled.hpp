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

/// Nobody will fetch this error: tells the hook, or stderr if there is none or it throws.
void report_unhandled(unhandled_exception_hook const* hook, task_state& task, std::exception_ptr const& error,
                      char const* where = "") noexcept;

/// The same for one that came from `source`; stderr is told this sentence.
void report_unhandled(unhandled_exception_hook const* hook, std::string const& source, std::exception_ptr const& error,
                      std::string const& sentence) noexcept;

/// What an exception says of itself.
std::string describe(std::exception_ptr const& error);

}  // namespace fibers::detail
