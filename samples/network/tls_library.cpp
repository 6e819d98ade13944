// SPDX-License-Identifier: BSL-1.0

// As libraries.cpp, for Asio's TLS, which needs OpenSSL.

#include <boost/asio/ssl/impl/src.hpp>
