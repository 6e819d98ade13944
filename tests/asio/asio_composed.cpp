// SPDX-License-Identifier: BSL-1.0

// Composed operations that do not remember, between two steps, that they were cancelled. Beast's are of this kind.

#include <array>
#include <atomic>
#include <boost/asio/associator.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <thread>
#include <utility>

#include "network.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using boost::system::error_code;
using fibers::use_fiber;

namespace {

template <class Handler>
struct reading_for_ever {
  local::socket& from;
  std::array<char, 8>& buffer;
  Handler handler;

  void begin() {
    auto& socket = from;
    auto const room = asio::buffer(buffer);
    socket.async_read_some(room, std::move(*this));
  }
  void operator()(error_code const& error, std::size_t) {
    if (error) {
      handler(error);
    } else {
      begin();
    }
  }
};

struct begin_reading {
  local::socket& from;
  std::array<char, 8>& buffer;

  using executor_type = local::socket::executor_type;
  executor_type get_executor() const noexcept { return from.get_executor(); }
  template <class Handler>
  void operator()(Handler handler) const {
    reading_for_ever<Handler>{from, buffer, std::move(handler)}.begin();
  }
};

template <class Token>
auto read_for_ever(local::socket& from, std::array<char, 8>& buffer, Token token) {
  return asio::async_initiate<Token, void(error_code)>(begin_reading{from, buffer}, token);
}

}  // namespace

// The associated properties of this handler are those of the handler in it.
template <template <class, class> class Associator, class Handler, class Default>
struct boost::asio::associator<Associator, reading_for_ever<Handler>, Default> : Associator<Handler, Default> {
  static typename Associator<Handler, Default>::type get(reading_for_ever<Handler> const& whole,
                                                         Default const& otherwise = Default()) noexcept {
    return Associator<Handler, Default>::get(whole.handler, otherwise);
  }
};

TEST_CASE_METHOD(network, "asio: a request between two steps of a composed operation is not lost") {
  std::string ended;
  run([&] {
    both_ends ends;
    std::array<char, 8> buffer;
    ends.far.write_some(asio::buffer("lies there"));
    auto reader = fibers::spawn([&] { read_for_ever(ends.near, buffer, use_fiber); });
    fibers::this_task::yield();  // the first step has completed, and its handler waits to be called
    reader.cancel();
    ended = how([&] { reader.get(); });
  });
  CHECK(ended == "cancelled");
}

TEST_CASE_METHOD(network, "asio: a request between two steps is not lost if another thread runs the operation") {
  std::string ended;
  asio::io_context elsewhere;
  auto const work = asio::make_work_guard(elsewhere);
  std::thread other([&] { elsewhere.run(); });
  run([&] {
    local::socket near(elsewhere), far(elsewhere);
    asio::local::connect_pair(near, far);
    std::array<char, 8> buffer;
    std::atomic<bool> stop = false;
    std::thread writes([&] {
      for (error_code error; !stop && !error;) far.write_some(asio::buffer("more"), error);
    });
    ended = how([&] { fibers::with_timeout(20ms, [&] { read_for_ever(near, buffer, use_fiber); }); }).substr(0, 17);
    stop = true;
    error_code ignored;
    far.shutdown(local::socket::shutdown_both, ignored);
    near.shutdown(local::socket::shutdown_both, ignored);
    writes.join();
  });
  elsewhere.stop();
  other.join();
  CHECK(ended == "failed: timed out");
}
