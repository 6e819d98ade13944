// SPDX-License-Identifier: BSL-1.0

// The load generator for the echo servers. Each connection sends a message, waits for its echo, and sends the next one.
// One thread, on epoll.
//
//   client PORT CONNECTIONS SECONDS    prints requests, seconds, and latency in us: median, 99 %, 99.9 %
//   client PORT CONNECTIONS idle       opens the connections, prints "open", and waits until its input ends

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;
constexpr std::size_t message_size = 64;

[[noreturn]] void fail(char const* what) {
  std::perror(what);
  std::exit(1);
}

int connect_to(int port) {
  int const socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (socket < 0 || ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("connect");
  int const on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

struct connection {
  int socket = -1;
  std::size_t received = 0;  // bytes of the current echo
  steady::time_point sent = {};
};

void send_message(connection& c) {
  static constexpr std::array<char, message_size> message{};
  c.sent = steady::now();
  if (::send(c.socket, message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size()))
    fail("send");
}

double at(std::vector<float> const& sorted, double part) {
  return sorted.empty()
             ? 0
             : static_cast<double>(sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))]);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return std::puts("client PORT CONNECTIONS SECONDS|idle"), 2;
  int const port = std::atoi(arguments[1]);
  std::vector<connection> connections(static_cast<std::size_t>(std::atoi(arguments[2])));
  for (auto& each : connections) each.socket = connect_to(port);
  if (std::strcmp(arguments[3], "idle") == 0) {
    std::puts("open");
    std::fflush(stdout);
    std::array<char, 64> input;
    while (::read(0, input.data(), input.size()) > 0) {
    }
    return 0;
  }

  int const poll = ::epoll_create1(0);
  for (auto& each : connections) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = &each}};
    if (::epoll_ctl(poll, EPOLL_CTL_ADD, each.socket, &event) != 0) fail("epoll_ctl");
  }
  auto const length = std::chrono::duration<double>(std::atof(arguments[3]));
  std::vector<float> times;
  times.reserve(4'000'000);
  std::array<epoll_event, 512> events;
  std::array<char, 4096> buffer;
  auto const begin = steady::now();
  for (auto& each : connections) send_message(each);
  while (steady::now() - begin < length) {
    int const ready = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), 100);
    for (int i = 0; i < ready; ++i) {
      auto& c = *static_cast<connection*>(events[static_cast<std::size_t>(i)].data.ptr);
      auto const received = ::recv(c.socket, buffer.data(), buffer.size(), 0);
      if (received <= 0) fail("recv");
      c.received += static_cast<std::size_t>(received);
      if (c.received < message_size) continue;
      c.received = 0;
      times.push_back(std::chrono::duration<float, std::micro>(steady::now() - c.sent).count());
      send_message(c);
    }
  }
  auto const seconds = std::chrono::duration<double>(steady::now() - begin).count();
  std::sort(times.begin(), times.end());
  std::printf("%zu %.6f %.1f %.1f %.1f\n", times.size(), seconds, at(times, 0.5), at(times, 0.99), at(times, 0.999));
}
