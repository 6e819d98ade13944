// SPDX-License-Identifier: BSL-1.0

// A scope that ends a read reports how many bytes the read has taken off the stream, whatever the scope makes of the
// cancellation. Here two of four bytes have arrived.

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cstddef>
#include <fibers/event.hpp>
#include <fibers/race.hpp>
#include <fibers/task.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <functional>
#include <string>

#include "network.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using fibers::timeout_scope;
using fibers::use_fiber;

namespace {

class partial_read : public network {
 protected:
  /// Calls cut_short(read), which returns how many bytes the read has taken when a scope ends it. Then reads the rest.
  std::string header_read_by(std::function<std::size_t(std::function<void()> const& read)> const& cut_short) {
    std::string header = "....";
    run([&] {
      both_ends ends;
      asio::write(ends.far, asio::buffer("HE", 2));
      auto const taken = cut_short([&] { asio::async_read(ends.near, asio::buffer(header), use_fiber); });
      asio::write(ends.far, asio::buffer("ADload", 6));
      asio::async_read(ends.near, asio::buffer(header) + taken, use_fiber);
    });
    return header;
  }

  template <class F>
  static std::size_t transferred_by_late(F call) {
    try {
      call();
    } catch (fibers::timeout_error const& late) {
      return late.transferred();
    }
    return 99;
  }
};

}  // namespace

TEST_CASE_METHOD(partial_read, "timeout: timeout_error reports how many bytes were transferred") {
  auto const in_5_ms = [] { return fibers::clock::now() + 5ms; };
  CHECK(header_read_by([](auto& read) { return transferred_by_late([&] { fibers::with_timeout(5ms, read); }); }) ==
        "HEAD");
  CHECK(header_read_by([&](auto& read) {
          return transferred_by_late([&] { fibers::with_timeout_at(in_5_ms(), read); });
        }) == "HEAD");
  CHECK(header_read_by([](auto& read) { return transferred_by_late([&] { fibers::wait_for(read, 5ms); }); }) == "HEAD");
}

TEST_CASE_METHOD(partial_read, "timeout: wait_for() of a task reports how many bytes the task transferred") {
  auto const limit = GENERATE(fibers::duration(5ms), fibers::duration(0));
  CHECK(header_read_by([&](auto& read) {
          auto reads = fibers::spawn(read);
          fibers::sleep_for(1ms);
          return transferred_by_late([&] { fibers::wait_for(reads, limit); });
        }) == "HEAD");
}

TEST_CASE_METHOD(partial_read,
                 "timeout: move_on_after() adds the number of transferred bytes to the variable that the body names") {
  auto const counting = [](std::size_t& count, auto& read) {
    return [&](timeout_scope& scope) {
      scope.add_transferred_to(count);
      read();
    };
  };
  std::size_t count = 0;
  bool done = true;
  CHECK(header_read_by([&](auto& read) {
          done = fibers::move_on_after(5ms, counting(count, read));
          return count;
        }) == "HEAD");
  CHECK_FALSE(done);
  CHECK(header_read_by([&](auto& read) {
          count = 0;
          fibers::move_on_at(fibers::clock::now() + 5ms, counting(count, read));
          return count;
        }) == "HEAD");
}

TEST_CASE_METHOD(partial_read, "timeout: a scope reports the number of transferred bytes as soon as its body is left") {
  CHECK(header_read_by([](auto& read) {
          std::size_t before = 9, count = 0;
          fibers::move_on_after(5ms, [&](timeout_scope& scope) {
            before = scope.transferred();
            fibers::testing::at_exit const leaves{[&] { count = scope.transferred(); }};
            read();
          });
          return before == 0 ? count : 9;
        }) == "HEAD");
}

TEST_CASE_METHOD(partial_read,
                 "timeout: of nested blocks the one that expired reports the number of transferred bytes") {
  std::size_t inner = 0;
  CHECK(header_read_by([&](auto& read) {
          return transferred_by_late([&] {
            fibers::with_timeout(5ms, [&] {
              fibers::move_on_after(1h, [&](timeout_scope& scope) {
                scope.add_transferred_to(inner);
                read();
              });
            });
          });
        }) == "HEAD");
  CHECK(inner == 0);
}

TEST_CASE_METHOD(partial_read, "race: a cancelled race reports how many bytes its callables transferred") {
  CHECK(header_read_by([](auto& read) {
          return transferred_by_late(
              [&] { fibers::with_timeout(5ms, [&] { fibers::race(read, [] { fibers::sleep_for(1h); }); }); });
        }) == "HEAD");
}

TEST_CASE_METHOD(partial_read, "race: a loser can count its transferred bytes itself") {
  CHECK(header_read_by([](auto& read) {
          std::size_t count = 0;
          auto const reads = [&] {
            try {
              read();
            } catch (fibers::cancelled_error const& error) {
              count = error.transferred();
              throw;
            }
          };
          fibers::race(reads, [] { fibers::sleep_for(5ms); });
          return count;
        }) == "HEAD");
}
