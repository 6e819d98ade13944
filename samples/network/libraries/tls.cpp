// SPDX-License-Identifier: BSL-1.0

// The same of Asio's TLS, which needs OpenSSL.

#include <boost/asio/ssl/impl/src.hpp>
