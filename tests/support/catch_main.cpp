// SPDX-License-Identifier: BSL-1.0

// Catch2 may return the number of failed assertions, and Meson takes 77 for "skipped" and 99 for
// "could not run". So the exit status is made plain here.

#define CATCH_CONFIG_RUNNER  // version 2: put the runner into this file

#include "catch.hpp"

int main(int argc, char* argv[]) {
  Catch::Session session;
#if CATCH_VERSION_MAJOR >= 3
  session.configData().allowZeroTests = true;  // as version 2: if all are skipped, nothing has failed
#endif
  return session.run(argc, argv) == 0 ? 0 : 1;
}
