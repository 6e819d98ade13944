// SPDX-License-Identifier: BSL-1.0

// Asio and Beast, compiled once for all programs here: see BOOST_ASIO_SEPARATE_COMPILATION.

#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
