// SPDX-License-Identifier: BSL-1.0
#pragma once

// A self-signed certificate for 127.0.0.1, for samples and tests.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <boost/asio/ssl/context.hpp>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

inline void check(bool is_well) {
  if (!is_well) throw std::runtime_error("OpenSSL made no certificate");
}

/// Returns the context of a server with a new key and a certificate for 127.0.0.1. If `file` is not null, the
/// certificate is written there, for clients to check. The key stays in memory.
inline boost::asio::ssl::context self_signed_context(char const* file) {
  std::unique_ptr<EVP_PKEY, freed_by<&EVP_PKEY_free>> const key(EVP_EC_gen("P-256"));
  std::unique_ptr<X509, freed_by<&X509_free>> const certificate(X509_new());
  check(key != nullptr && certificate != nullptr);
  auto* const it = certificate.get();

  constexpr long day = 24 * 60 * 60;
  check(X509_set_version(it, X509_VERSION_3) == 1 && X509_set_pubkey(it, key.get()) == 1);
  check(ASN1_INTEGER_set(X509_get_serialNumber(it), 1) == 1);
  check(X509_gmtime_adj(X509_getm_notBefore(it), -day) != nullptr);  // clocks differ
  check(X509_gmtime_adj(X509_getm_notAfter(it), 30 * day) != nullptr);
  auto* const name = X509_get_subject_name(it);
  auto const* const local = reinterpret_cast<unsigned char const*>("localhost");
  check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, local, -1, -1, 0) == 1);
  check(X509_set_issuer_name(it, name) == 1);
  std::unique_ptr<X509_EXTENSION, freed_by<&X509_EXTENSION_free>> const names(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost"));
  check(names != nullptr && X509_add_ext(it, names.get(), -1) == 1);
  check(X509_sign(it, key.get(), EVP_sha256()) != 0);

  boost::asio::ssl::context context(boost::asio::ssl::context::tls_server);
  check(SSL_CTX_use_certificate(context.native_handle(), it) == 1);
  check(SSL_CTX_use_PrivateKey(context.native_handle(), key.get()) == 1);
  if (file != nullptr) {
    std::unique_ptr<std::FILE, freed_by<&std::fclose>> const out(std::fopen(file, "w"));
    if (out == nullptr || PEM_write_X509(out.get(), it) != 1)
      throw std::runtime_error(std::string("cannot write ") + file);
  }
  return context;
}
