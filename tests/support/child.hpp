// SPDX-License-Identifier: BSL-1.0
#pragma once

// Runs code in a child process: code that ends the process, writes to stderr, or changes the process for good.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "catch.hpp"

#ifdef FIBERS_VALGRIND
#include <valgrind/valgrind.h>
#endif

namespace fibers::testing {

struct death {
  int status = 0;
  std::string text = {};  // its output on stderr

  bool by(int signal) const { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }
  bool with(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
};

/// In the child all signals have their default actions. It exits with 0 if the body returns, with 99 if it throws.
template <class F>
death in_child(F body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  auto const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
#ifdef FIBERS_VALGRIND
    VALGRIND_DISABLE_ERROR_REPORTING;  // faults are intended here, and reports would change the exit status
#endif
    for (int const signal : {SIGSEGV, SIGBUS, SIGABRT, SIGINT, SIGTERM}) ::signal(signal, SIG_DFL);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    try {
      body();
    } catch (...) {
      ::_exit(99);
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  death result;
  char buffer[512];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    result.text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  REQUIRE(::waitpid(child, &result.status, 0) == child);
  return result;
}

}  // namespace fibers::testing
