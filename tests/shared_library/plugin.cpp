// SPDX-License-Identifier: BSL-1.0

// A plugin that hides its symbols and uses Asio in tasks of the host's loop.

#include "plugin.hpp"

#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <fibers/asio.hpp>

using namespace std::chrono_literals;
namespace asio = boost::asio;

extern "C" [[gnu::visibility("default")]] plugin_functions const* functions() {
  static constexpr plugin_functions all = {
      .throw_by_name = [](std::string const& name) { throw_by_name(name); },
      .name_of_caught = [](void (*f)(std::string const&),
                           std::string const& name) { return name_of_caught([&] { f(name); }); },
      .io_context = []() -> asio::io_context& { return fibers::io_context(); },
      .wait_in_a_parallel_group =
          [] {
            asio::steady_timer one(fibers::io_context(), 60s), other(fibers::io_context(), 60s);
            asio::experimental::make_parallel_group(one.async_wait(asio::deferred), other.async_wait(asio::deferred))
                .async_wait(asio::experimental::wait_for_all(), fibers::use_fiber);
          },
      .run_a_loop =
          [] {
            fibers::run([] {
              asio::steady_timer timer(fibers::io_context(), 1ms);
              timer.async_wait(fibers::use_fiber);
              fibers::sleep_for(1ms);
            });
          },
  };
  return &all;
}
