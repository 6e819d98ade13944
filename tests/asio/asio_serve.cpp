// SPDX-License-Identifier: BSL-1.0
#include <sys/resource.h>
#include <sys/socket.h>

#include <boost/asio.hpp>
#include <csignal>
#include <fibers/event.hpp>
#include <fibers/race.hpp>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/this_task.hpp>
#include <fibers/timeout.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "network.hpp"

using namespace std::chrono_literals;
using namespace fibers::testing;
using boost::system::error_code;
using boost::system::system_error;
using fibers::cancelled_error;
using fibers::use_fiber;

namespace {

void echo(tcp::socket socket) {
  char buffer[1024];
  for (;;) {
    auto const size = socket.async_read_some(asio::buffer(buffer), use_fiber);
    asio::async_write(socket, asio::buffer(buffer, size), use_fiber);
  }
}

std::string ask(tcp::socket& socket, std::string text) {
  asio::async_write(socket, asio::buffer(text), use_fiber);
  asio::async_read(socket, asio::buffer(text), use_fiber);
  return text;
}

tcp::endpoint nobody_listens() {
  tcp::acceptor acceptor = listen_on_loopback();
  return acceptor.local_endpoint();  // the acceptor is closed on return
}

// Neither accepts nor answers: its queue of connections is full.
struct black_hole {
  black_hole() {
    acceptor.open(tcp::v4());
    acceptor.bind({asio::ip::address_v4::loopback(), 0});
    acceptor.listen(0);
    for (auto* socket : {&first, &second}) {
      socket->open(tcp::v4());
      socket->native_non_blocking(true);
      auto const to = endpoint();
      [[maybe_unused]] auto const begun =
          ::connect(socket->native_handle(), to.data(), static_cast<socklen_t>(to.size()));
    }
  }
  tcp::endpoint endpoint() const { return acceptor.local_endpoint(); }
  tcp::acceptor acceptor{fibers::io_context()};
  tcp::socket first{fibers::io_context()}, second{fibers::io_context()};
};

}  // namespace

// --- connect ---

TEST_CASE_METHOD(network, "connect: resolves a host by name or address, and a service by name or port") {
  std::string text;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const port = acceptor.local_endpoint().port();
    auto const server = fibers::spawn([&] { fibers::serve(acceptor, echo); });
    auto by_address = fibers::connect("127.0.0.1", port);
    auto by_text = fibers::connect("127.0.0.1", std::to_string(port));
    auto by_name = fibers::connect("localhost", port);
    text = ask(by_address, "one ") + ask(by_text, "two ") + ask(by_name, "three");
  });
  CHECK(text == "one two three");
}

TEST_CASE_METHOD(network, "connect: an unknown host is an error that names it") {
  std::string told;
  run([&] { told = how([] { fibers::connect("a.host.invalid", 80); }); });
  CHECK(told.starts_with("failed: fibers: resolve a.host.invalid:80"));
}

TEST_CASE_METHOD(network,
                 "connect: the last error is thrown if no address accepts; no address at all is an error, too") {
  std::optional<error_code> none, all;
  std::string last, told;
  run([&] {
    auto const error_of = [&](std::vector<tcp::endpoint> const& endpoints) -> std::optional<error_code> {
      try {
        fibers::connect(endpoints);
      } catch (system_error const& error) {
        told = error.what();
        return error.code();
      }
      return {};
    };
    none = error_of({});
    auto const second = nobody_listens();
    last = "127.0.0.1:" + std::to_string(second.port());
    all = error_of({nobody_listens(), second});
  });
  CHECK(told.starts_with("fibers: connect " + last + ": "));
  CHECK(none == asio::error::host_not_found);
  CHECK(all == asio::error::connection_refused);
}

TEST_CASE_METHOD(network, "connect: after an address that refuses, the next one is tried at once") {
  bool connected = false;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    connected = fibers::connect({nobody_listens(), endpoint}, {.attempt_delay = 1h}).remote_endpoint() == endpoint;
  });
  CHECK(connected);
}

TEST_CASE_METHOD(network, "connect: after an address that does not answer, the next one is tried after the delay") {
  bool connected = false;
  run([&] {
    black_hole const hole;
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    connected = fibers::connect({hole.endpoint(), endpoint}, {.attempt_delay = 2ms}).remote_endpoint() == endpoint;
  });
  CHECK(connected);
}

TEST_CASE_METHOD(network, "connect: a timeout ends all attempts") {
  std::string ended;
  run([&] {
    black_hole const one, two;
    ended = how([&] {
      fibers::with_timeout(10ms, [&] { fibers::connect({one.endpoint(), two.endpoint()}, {.attempt_delay = 1ms}); });
    });
  });
  CHECK(ended.starts_with("failed: timed out"));
}

TEST_CASE("connect: the two address families alternate, and each keeps its order") {
  auto const end = [](char const* text) { return tcp::endpoint(asio::ip::make_address(text), 1); };
  using endpoints = std::vector<tcp::endpoint>;
  auto const mixed = fibers::detail::in_turns({end("::1"), end("::2"), end("::3"), end("10.0.0.1"), end("10.0.0.2")});
  CHECK(mixed == endpoints{end("::1"), end("10.0.0.1"), end("::2"), end("10.0.0.2"), end("::3")});
  CHECK(fibers::detail::in_turns({}).empty());
  CHECK(fibers::detail::in_turns({end("10.0.0.1"), end("10.0.0.2")}) == endpoints{end("10.0.0.1"), end("10.0.0.2")});
}

TEST_CASE_METHOD(network, "resolve: a cancelled call ends, and its answer is dropped") {
  std::string ended;
  run([&] {
    auto task = fibers::spawn([] { fibers::resolve("localhost", "80"); });
    fibers::this_task::yield();
    task.cancel("enough");
    ended = how([&] { task.get(); });
  });
  CHECK(ended == "cancelled: enough");
}

// --- serve ---

TEST_CASE_METHOD(network, "serve: each connection has a task of its own") {
  std::string text;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto const server = fibers::spawn([&] { fibers::serve(acceptor, echo); });
    auto one = fibers::connect({endpoint}), two = fibers::connect({endpoint});
    text = ask(one, "a") + ask(two, "b") + ask(one, "c");
  });
  CHECK(text == "abc");
}

TEST_CASE_METHOD(network, "serve: a closed acceptor ends it, after its connections have ended") {
  std::string order;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto const server = fibers::spawn([&] {
      fibers::serve(acceptor, echo);
      order += "server";
    });
    auto client = fibers::connect({endpoint});
    ask(client, "a");
    acceptor.close();
    fibers::this_task::yield();
    order += ask(client, "client ");
    client.close();
    server.handle().get();
  });
  CHECK(order == "client server");
}

TEST_CASE_METHOD(network, "serve: if cancelled it accepts no more, and connections have the grace period to finish") {
  std::string order, ended;
  std::optional<error_code> refused;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto server = fibers::spawn([&] { fibers::serve(acceptor, echo, {.grace = fibers::no_timeout}); });
    auto client = fibers::connect({endpoint});
    ask(client, "a");
    server.cancel("enough");
    while (acceptor.is_open()) fibers::this_task::yield();
    try {
      fibers::connect({endpoint});
    } catch (system_error const& error) {
      refused = error.code();
    }
    order += ask(client, "still served");
    client.close();
    ended = how([&] { server.get(); });
  });
  CHECK(refused == asio::error::connection_refused);
  CHECK(order == "still served");
  CHECK(ended == "cancelled: enough");
}

TEST_CASE_METHOD(network, "serve: after the grace period connections are cancelled, and may clean up") {
  bool const impatient = GENERATE(true, false);  // a second request ends the grace period
  std::string ended, goodbye;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto const polite = [](tcp::socket socket) {
      try {
        char byte;
        asio::async_read(socket, asio::buffer(&byte, 1), use_fiber);
      } catch (cancelled_error const&) {
        asio::async_write(socket, asio::buffer("bye", 3), use_fiber);
        throw;
      }
    };
    fibers::serve_options const options{.grace = impatient ? fibers::duration(1h) : 2ms};
    auto server = fibers::spawn([&] { fibers::serve(acceptor, polite, options); });
    auto client = fibers::connect({endpoint});
    fibers::sleep_for(1ms);
    server.cancel("enough");
    if (impatient) {
      while (acceptor.is_open()) fibers::this_task::yield();
      server.cancel("at once");
    }
    goodbye = read_to_end(client);
    ended = how([&] { server.get(); });
  });
  CHECK(goodbye == "bye");
  CHECK(ended == (impatient ? "cancelled: at once" : "cancelled: enough"));
}

TEST_CASE_METHOD(network, "serve: no more connections than allowed run at a time, and others wait") {
  int now = 0, most = 0, served = 0;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    fibers::event three_at_a_time;
    auto const count = [&](tcp::socket socket) {
      most = std::max(most, ++now);
      if (now == 3) three_at_a_time.set();
      three_at_a_time.wait();
      char byte;
      socket.async_read_some(asio::buffer(&byte, 1), use_fiber);
      fibers::this_task::yield();
      --now;
      ++served;
    };
    auto const server = fibers::spawn([&] { fibers::serve(acceptor, count, {.max_connections = 3}); });
    fibers::with_task_group([&](fibers::task_group& clients) {
      for (int i = 0; i < 20; ++i) {
        clients.spawn([&] {
          auto socket = fibers::connect({endpoint});
          asio::async_write(socket, asio::buffer("x", 1), use_fiber);
          read_to_end(socket);
        });
      }
    });
  });
  CHECK(served == 20);
  CHECK(most == 3);
}

TEST_CASE_METHOD(network, "serve: a limit of 0 connections is refused with an explanation") {
  std::string out;
  run([&] {
    auto acceptor = listen_on_loopback();
    out = how([&] { fibers::serve(acceptor, echo, {.max_connections = 0}); });
  });
  CHECK(out.starts_with("failed: fibers: serve_options::max_connections is 0"));
}

TEST_CASE_METHOD(network, "serve: an error of one connection does not affect the others, and is reported") {
  std::string text;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    bool first = true;
    auto const server = fibers::spawn([&] {
      fibers::serve(acceptor, [&](tcp::socket socket) {
        if (std::exchange(first, false)) throw std::runtime_error("broken");
        echo(std::move(socket));
      });
    });
    auto one = fibers::connect({endpoint});
    text = read_to_end(one);
    auto two = fibers::connect({endpoint});
    text += ask(two, "goes on");
  });
  CHECK(text == "goes on");
  CHECK(unfetched == std::vector<std::string>{"connection, served by serve(): failed: broken"});
  unfetched.clear();
}

TEST_CASE_METHOD(network, "serve: a reset by the peer is not reported, whether reading or writing") {
  int served = 0, ended = 0;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto const server = fibers::spawn([&] {
      fibers::serve(acceptor, [&](tcp::socket socket) {
        bool const reads = ++served == 1;
        try {
          std::string data(100'000, '-');
          if (reads) socket.async_read_some(asio::buffer(data), use_fiber);
          for (;;) asio::async_write(socket, asio::buffer(data), use_fiber);
        } catch (system_error const&) {
          ++ended;
          throw;
        }
      });
    });
    for (int i = 1; i <= 2; ++i) {
      auto client = fibers::connect({endpoint});
      while (served < i) asio::post(fibers::io_context(), use_fiber);
      client.set_option(asio::socket_base::linger(true, 0));
      client.close();
      while (ended < i) asio::post(fibers::io_context(), use_fiber);
    }
  });
  CHECK(ended == 2);
  CHECK(unfetched.empty());
}

TEST_CASE_METHOD(network, "serve: without file descriptors it waits for free ones, and then continues") {
  std::string text;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto const server = fibers::spawn([&] { fibers::serve(acceptor, echo); });
    tcp::socket client(fibers::io_context(), tcp::v4());
    fibers::this_task::yield();
    rlimit usual{};
    ::getrlimit(RLIMIT_NOFILE, &usual);
    auto const next = ::dup(0);  // the lowest free descriptor
    ::close(next);
    rlimit none_left = usual;
    none_left.rlim_cur = static_cast<rlim_t>(next);
    ::setrlimit(RLIMIT_NOFILE, &none_left);
    client.async_connect(endpoint, use_fiber);
    while (unfetched.empty()) fibers::this_task::yield();
    ::setrlimit(RLIMIT_NOFILE, &usual);
    text = ask(client, "served");
  });
  CHECK(text == "served");
  CHECK(unfetched.size() == 1);
  unfetched.clear();
}

TEST_CASE_METHOD(network, "serve: a signal ends it") {
  std::string order;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto const server = fibers::spawn([&] {
      int signal = 0;
      fibers::race([&] { fibers::serve(acceptor, echo, {.grace = 1ms}); },
                   [&] {
                     signal = fibers::wait_for_signal({SIGUSR1, SIGUSR2});
                   });
      order += signal == SIGUSR2 ? "SIGUSR2" : "another";
    });
    auto client = fibers::connect({endpoint});
    order += ask(client, "served ");
    std::raise(SIGUSR2);
    server.handle().get();
  });
  CHECK(order == "served SIGUSR2");
}

// --- peers ---

TEST_CASE_METHOD(network, "peers: a half-open connection is read to its end, and can still be answered") {
  std::string asked, answered;
  run([&] {
    both_tcp_ends ends;
    auto const server = fibers::spawn([&] {
      asked = read_to_end(ends.far);
      asio::async_write(ends.far, asio::buffer("answer", 6), use_fiber);
      ends.far.close();
    });
    asio::async_write(ends.near, asio::buffer("question", 8), use_fiber);
    ends.near.shutdown(tcp::socket::shutdown_send);
    answered = read_to_end(ends.near);
  });
  CHECK(asked == "question");
  CHECK(answered == "answer");
}

TEST_CASE_METHOD(network, "peers: a reset is an error of the reader and of the writer") {
  std::optional<error_code> read, written;
  run([&] {
    auto const error_of = [](auto use) -> std::optional<error_code> {
      both_tcp_ends ends;
      ends.far.set_option(asio::socket_base::linger(true, 0));
      ends.far.close();
      try {
        use(ends.near);
      } catch (system_error const& error) {
        return error.code();
      }
      return {};
    };
    char byte = 0;
    read = error_of([&](auto& socket) { socket.async_read_some(asio::buffer(&byte, 1), use_fiber); });
    written = error_of([&](auto& socket) {
      for (;;) asio::async_write(socket, asio::buffer(std::string(100'000, '-')), use_fiber);
    });
  });
  CHECK(read == asio::error::connection_reset);
  CHECK((written == asio::error::connection_reset || written == asio::error::broken_pipe));
}

TEST_CASE_METHOD(network, "peers: a timeout ends the wait for a peer that never answers") {
  std::string ended;
  run([&] {
    both_tcp_ends ends;
    ended = how([&] { fibers::with_timeout(2ms, [&] { ask(ends.near, "anybody there?"); }); });
  });
  CHECK(ended.starts_with("failed: timed out"));
}

TEST_CASE_METHOD(network, "peers: a slow reader blocks its writer, and gets everything") {
  auto const sent = numbered(3'000'000);
  std::string got;
  run([&] {
    both_tcp_ends ends;
    auto const writer = fibers::spawn([&] {
      asio::async_write(ends.near, asio::buffer(sent), use_fiber);
      ends.near.shutdown(tcp::socket::shutdown_send);
    });
    error_code error;
    std::string buffer(30'000, ' ');
    while (!error) {
      got.append(buffer, 0, ends.far.async_read_some(asio::buffer(buffer), use_fiber[error]));
      for (int i = 0; i < 10; ++i) fibers::this_task::yield();
    }
  });
  CHECK(got == sent);
}

TEST_CASE_METHOD(network, "peers: a slow writer is read byte by byte") {
  std::string got;
  run([&] {
    both_tcp_ends ends;
    auto const writer = fibers::spawn([&] {
      for (char const letter : std::string("slowly")) {
        asio::async_write(ends.near, asio::buffer(&letter, 1), use_fiber);
        asio::steady_timer(fibers::io_context(), 200us).async_wait(use_fiber);
      }
      ends.near.close();
    });
    got = read_to_end(ends.far);
  });
  CHECK(got == "slowly");
}

TEST_CASE_METHOD(network, "peers: a thousand connections are opened and dropped, each in a different way") {
  int served = 0, cut = 0;
  constexpr int rounds = 20, at_a_time = 50;
  run([&] {
    auto acceptor = listen_on_loopback();
    auto const endpoint = acceptor.local_endpoint();
    auto const server = fibers::spawn([&] {
      fibers::serve(acceptor, [&](tcp::socket socket) {
        char buffer[16];
        try {
          for (;;) {
            auto const size = socket.async_read_some(asio::buffer(buffer), use_fiber);
            asio::async_write(socket, asio::buffer(buffer, size), use_fiber);
          }
        } catch (system_error const&) {
          ++served;
        }
      });
    });
    for (int round = 0; round < rounds; ++round) {
      fibers::with_task_group([&](fibers::task_group& clients) {
        for (int i = 0; i < at_a_time; ++i) {
          clients.spawn([&, i] {
            auto socket = fibers::connect({endpoint});
            if (i % 5 == 0) return;  // sends nothing
            if (i % 5 == 1) socket.set_option(asio::socket_base::linger(true, 0));
            asio::async_write(socket, asio::buffer("hello", 5), use_fiber);
            if (i % 5 == 2) return;                        // does not wait for the answer
            std::string answer(i % 5 == 3 ? 50 : 5, ' ');  // or waits for more than is sent
            if (!fibers::move_on_after(i % 5 == 3 ? 1ms : 10s, [&] {
                  error_code error;
                  asio::async_read(socket, asio::buffer(answer), use_fiber[error]);
                })) {
              ++cut;
            }
          });
        }
      });
    }
    while (served < rounds * at_a_time) fibers::sleep_for(100us);
  });
  CHECK(served == rounds * at_a_time);
  CHECK(cut >= rounds * at_a_time / 5);
}
