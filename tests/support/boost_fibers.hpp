// SPDX-License-Identifier: BSL-1.0
#pragma once

// What tests of loops on Boost fibers stand on.

#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>
#include <chrono>
#include <ctime>
#include <fibers/boost_fiber.hpp>
#include <string>
#include <thread>
#include <utility>

#include "record.hpp"

namespace fibers::testing {

/// A Boost fiber that is joined at the end.
class neighbour {
 public:
  template <class Body>
  explicit neighbour(Body body) : fiber_(boost::fibers::launch::post, std::move(body)) {}
  neighbour(neighbour&&) = default;
  ~neighbour() { join(); }
  void join() {
    if (fiber_.joinable()) fiber_.join();
  }

 private:
  boost::fibers::fiber fiber_;
};

/// Runs the body as the main Boost fiber of a thread of its own, which has ended when this returns.
template <class Body>
void on_a_thread(Body body) {
  std::thread(std::move(body)).join();
}

/// Lets time pass without letting anybody run.
inline void burn(duration length) {
  auto const end = std::chrono::steady_clock::now() + length;
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// How long this thread has used a processor.
inline duration processor_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// Tasks in virtual time, on a Boost fiber. Where they wait for Boost fibers, time is real: so what happened is kept
/// without it.
class boost_case : public virtual_time {
 protected:
  void note(std::string const& what) { happened += (happened.empty() ? "" : ", ") + what; }

  std::string happened;
};

}  // namespace fibers::testing
