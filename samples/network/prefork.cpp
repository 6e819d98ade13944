// SPDX-License-Identifier: BSL-1.0

// A pre-fork server
//
// Four worker processes accept from one port, each with a loop of its own. The parent replaces a worker that dies. The
// server thus uses all processors, and a crash ends the connections of one worker only.
//
//   samples/run prefork 7003
//   nc 127.0.0.1 7003             # in other terminals: which worker answers?
//   kill -9 PID                   # of a worker; the parent starts a new one
//
// You will get back each line that you type, after the process number of your worker.

#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <csignal>
#include <set>
#include <string>
#include <system_error>

#include "server.hpp"

namespace asio = boost::asio;
using namespace std::chrono_literals;

void echo(tcp::socket socket) {
  std::string const me = std::to_string(::getpid()) + ": ";
  std::string received;
  for (;;) {
    auto const size = asio::async_read_until(socket, asio::dynamic_buffer(received, 1000), '\n', fibers::use_fiber);
    asio::async_write(socket, asio::buffer(me + received.substr(0, size)), fibers::use_fiber);
    received.erase(0, size);
  }
}

// Asio must be notified of a fork, so that each process has an event queue of its own for its loop.
pid_t fork_process() {
  using event = asio::execution_context::fork_event;
  auto& context = fibers::io_context();
  context.notify_fork(event::fork_prepare);
  auto const child = ::fork();
  auto const error = errno;
  context.notify_fork(child == 0 ? event::fork_child : event::fork_parent);
  if (child < 0) throw std::system_error(error, std::generic_category(), "fork");
  return child;
}

void work(tcp::acceptor& acceptor) {
  std::signal(SIGINT, SIG_IGN);  // the parent handles Ctrl-C, and sends SIGTERM
  fibers::race([&] { fibers::serve(acceptor, echo, {.grace = 5s}); }, [] { fibers::wait_for_signal({SIGTERM}); });
}

int main(int argc, char** argv) {
  return serve_on_port(argc, argv, [](tcp::acceptor& acceptor) {
    asio::signal_set signals(fibers::io_context(), SIGINT, SIGTERM, SIGCHLD);
    std::set<pid_t> workers;
    auto const bury = [&](int options) {
      while (auto const dead = ::waitpid(-1, nullptr, options)) {
        if (dead < 0) break;
        workers.erase(dead);
      }
    };
    do {
      bury(WNOHANG);
      while (workers.size() < 4) {
        auto const worker = fork_process();
        if (worker == 0) {  // the child has a copy of the loop; this is its only task
          signals.clear();
          return work(acceptor);
        }
        workers.insert(worker);
      }
      fibers::sleep_for(100ms);  // limits the rate of forks if workers die at once
    } while (signals.async_wait(fibers::use_fiber) == SIGCHLD);

    acceptor.close();
    for (auto const worker : workers) ::kill(worker, SIGTERM);
    bury(0);
  });
}
