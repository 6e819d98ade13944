// SPDX-License-Identifier: BSL-1.0
#pragma once

// Common parts of the tests of shared libraries and their plugins. Each side compiles this with its own visibility, and
// the inline functions have internal linkage, so that each side has its own.

#include <boost/asio/io_context.hpp>
#include <exception>
#include <fibers/fibers.hpp>
#include <string>
#include <vector>

namespace {

/// Every exception of the library, by its name.
inline std::vector<std::string> const& exception_names() {
  static std::vector<std::string> const names = {
      "cancelled_error", "timeout_error", "interrupted_error", "invalid_state_error",  "deadlock_error",
      "queue_full",      "queue_empty",   "queue_shut_down",   "broken_barrier_error", "exception_group"};
  return names;
}

inline void throw_by_name(std::string const& name) {
  if (name == "cancelled_error") throw fibers::cancelled_error("no");
  if (name == "timeout_error") throw fibers::timeout_error();
  if (name == "interrupted_error") throw fibers::interrupted_error(2);
  if (name == "invalid_state_error") throw fibers::invalid_state_error("no");
  if (name == "deadlock_error") throw fibers::deadlock_error("no");
  if (name == "queue_full") throw fibers::queue_full();
  if (name == "queue_empty") throw fibers::queue_empty();
  if (name == "queue_shut_down") throw fibers::queue_shut_down();
  if (name == "broken_barrier_error") throw fibers::broken_barrier_error();
  throw fibers::exception_group("no", {std::make_exception_ptr(fibers::timeout_error())});
}

template <class F>
std::string name_of_caught(F f) {
  try {
    f();
  } catch (fibers::cancelled_error const&) {
    return "cancelled_error";
  } catch (fibers::timeout_error const&) {
    return "timeout_error";
  } catch (fibers::interrupted_error const&) {
    return "interrupted_error";
  } catch (fibers::invalid_state_error const&) {
    return "invalid_state_error";
  } catch (fibers::deadlock_error const&) {
    return "deadlock_error";
  } catch (fibers::queue_full const&) {
    return "queue_full";
  } catch (fibers::queue_empty const&) {
    return "queue_empty";
  } catch (fibers::queue_shut_down const&) {
    return "queue_shut_down";
  } catch (fibers::broken_barrier_error const&) {
    return "broken_barrier_error";
  } catch (fibers::exception_group const&) {
    return "exception_group";
  } catch (...) {
    return "something else";
  }
  return "nothing";
}

}  // namespace

/// The interface of the plugin with Asio, returned by its function "functions".
struct plugin_functions {
  void (*throw_by_name)(std::string const& name);
  std::string (*name_of_caught)(void (*f)(std::string const&), std::string const& name);
  boost::asio::io_context& (*io_context)();
  void (*wait_in_a_parallel_group)();  // waits for a minute
  void (*run_a_loop)();                // with an io_context
};
