// SPDX-License-Identifier: BSL-1.0
#pragma once

// Tests whether a call is a suspension point.
//
//   fibers::testing::expect_no_suspension_point([&] { queue.try_put(1); });

#include <boost/assert/source_location.hpp>
#include <concepts>
#include <fibers/testing/failure.hpp>
#include <memory>
#include <type_traits>

namespace fibers::testing {

namespace detail {

/// Counts the cancellation points that the running task reaches during the life of this object.
class point_count {
 public:
  explicit point_count(boost::source_location const& place);
  ~point_count();
  point_count(point_count const&) = delete;
  point_count& operator=(point_count const&) = delete;

  void expect_some(boost::source_location const& place) const;
  void expect_none(boost::source_location const& place) const;

 private:
  class watch;
  std::unique_ptr<watch> watch_;
};

template <class F, class Expect>
decltype(auto) call_and_expect(F& call, boost::source_location const& place, Expect expect) {
  point_count const count(place);
  if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
    call();
    (count.*expect)(place);
  } else {
    decltype(auto) result = call();
    (count.*expect)(place);
    return static_cast<decltype(result)>(result);
  }
}

}  // namespace detail

/// Calls `call`, and throws failure if no cancellation could have been delivered in the call. Returns the result of the
/// call. Exceptions of the call propagate.
template <std::invocable F>
decltype(auto) expect_suspension_point(F&& call, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::call_and_expect(call, place, &detail::point_count::expect_some);
}

/// Calls `call`, and throws failure if a cancellation could have been delivered in the call. Otherwise as above.
template <std::invocable F>
decltype(auto) expect_no_suspension_point(F&& call, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return detail::call_and_expect(call, place, &detail::point_count::expect_none);
}

}  // namespace fibers::testing
