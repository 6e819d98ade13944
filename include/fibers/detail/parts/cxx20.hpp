// SPDX-License-Identifier: BSL-1.0
#pragma once

// Every header of the library includes this one first, so that a compilation for an earlier standard reports one error.

#if __cplusplus < 202002L
#error "fibers needs C++20: compile with -std=c++20, or with Meson set default_options: ['cpp_std=c++20']"
#include <C++20 is needed>  // only a missing file ends the compilation here
#endif
