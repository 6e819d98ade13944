// SPDX-License-Identifier: BSL-1.0

// The same for Asio's TLS, which needs OpenSSL.

#include <boost/asio/ssl/impl/src.hpp>
