// SPDX-License-Identifier: BSL-1.0

// What of Asio and Beast need not be made for each program anew: see BOOST_ASIO_SEPARATE_COMPILATION.

#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
