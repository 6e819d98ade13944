// SPDX-License-Identifier: BSL-1.0

// A program and its plugins, which hide their symbols and are loaded with RTLD_LOCAL: they share exception types and
// loops, and a closed plugin leaves nothing behind.

#include <dlfcn.h>

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdlib>
#include <fibers/asio.hpp>
#include <fibers/detail/engine/this_loop.hpp>
#include <fibers/fibers.hpp>
#include <string>

#include "catch.hpp"
#include "plugin.hpp"

using namespace std::chrono_literals;

namespace {

class plugin {
 public:
  explicit plugin(char const* variable)
      : path_(std::getenv(variable)), library_(::dlopen(path_, RTLD_NOW | RTLD_LOCAL)) {
    INFO((library_ == nullptr ? ::dlerror() : ""));
    REQUIRE(library_ != nullptr);
  }
  plugin(plugin const&) = delete;
  plugin& operator=(plugin const&) = delete;
  ~plugin() { close(); }

  template <class Function>
  Function* function(char const* name) const {
    return reinterpret_cast<Function*>(::dlsym(library_, name));
  }

  /// Closes the plugin. Returns whether it is no longer in memory.
  bool close() {
    if (library_ != nullptr) ::dlclose(std::exchange(library_, nullptr));
    return ::dlopen(path_, RTLD_NOW | RTLD_NOLOAD) == nullptr;
  }

 private:
  char const* path_;
  void* library_;
};

struct asio_plugin : plugin {
  asio_plugin() : plugin("FIBERS_TEST_PLUGIN") {}
  plugin_functions const& call = *function<plugin_functions const*()>("functions")();
};

bool loop_has_a_parker() {
  bool has = false;
  fibers::run([&] { has = fibers::detail::chosen_parker() != nullptr; });
  return has;
}

}  // namespace

TEST_CASE("shared library: an exception that a plugin throws is caught by its type in the host, and vice versa") {
  asio_plugin const plugin;
  for (auto const& name : exception_names()) {
    CHECK(name_of_caught([&] { plugin.call.throw_by_name(name); }) == name);
    CHECK(plugin.call.name_of_caught(&throw_by_name, name) == name);
  }
}

TEST_CASE("shared library: a plugin and its host have the same io_context in a loop, whichever asks first") {
  asio_plugin const plugin;
  bool const plugin_first = GENERATE(true, false);
  void const* first = nullptr;
  void const* second = nullptr;
  fibers::run([&] {
    first = plugin_first ? &plugin.call.io_context() : &fibers::io_context();
    second = plugin_first ? &fibers::io_context() : &plugin.call.io_context();
  });
  CHECK(first == second);
}

TEST_CASE("shared library: a time limit of the host ends a parallel group in a plugin") {
  asio_plugin const plugin;
  auto const start = std::chrono::steady_clock::now();
  fibers::run([&] {
    fibers::io_context();
    fibers::with_timeout(20ms, [&] { plugin.call.wait_in_a_parallel_group(); });
  });
  CHECK(std::chrono::steady_clock::now() - start < 30s);
}

TEST_CASE("shared library: a plugin that ran loops can be closed, and loops of the host continue") {
  asio_plugin plugin;
  plugin.call.run_a_loop();
  CHECK(plugin.close());
  CHECK_FALSE(loop_has_a_parker());
}

#ifdef FIBERS_TEST_BOOST_FIBER
TEST_CASE("shared library: a plugin with Boost.Fiber changes no loop of its host, and leaves nothing behind") {
  plugin plugin("FIBERS_TEST_BOOST_FIBER_PLUGIN");
  CHECK_FALSE(loop_has_a_parker());
  auto* const run_on_a_boost_fiber = plugin.function<int()>("run_on_a_boost_fiber");
  CHECK(run_on_a_boost_fiber() == 7);
  CHECK_FALSE(loop_has_a_parker());
  CHECK(plugin.close());
  CHECK_FALSE(loop_has_a_parker());
}
#endif
