// SPDX-License-Identifier: BSL-1.0
#pragma once

// Support for tests of loops on Boost fibers.

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

/// A Boost fiber that is joined by the destructor.
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

/// Runs the body on the main Boost fiber of a thread of its own, and joins the thread.
template <class Body>
void on_a_thread(Body body) {
  std::thread(std::move(body)).join();
}

/// Lets time pass without yielding to other fibers.
inline void burn(duration length) {
  auto const end = std::chrono::steady_clock::now() + length;
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// Returns the processor time of this thread.
inline duration processor_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// Tasks in virtual time, on a Boost fiber. Time is real while they wait for Boost fibers, so the record contains no
/// times.
class boost_case : public virtual_time {
 protected:
  void note(std::string const& what) { happened += (happened.empty() ? "" : ", ") + what; }

  std::string happened;
};

}  // namespace fibers::testing
