// SPDX-License-Identifier: BSL-1.0

// epoll PORT [SECONDS]: a hand-written echo server, as the floor. SECONDS limits each read. All limits are equally
// long, so a list holds the deadlines in order.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <list>

namespace {

using steady = std::chrono::steady_clock;

struct connection {
  int socket;
  steady::time_point deadline;
};
using connections = std::list<connection>;

[[noreturn]] void fail(char const* what) {
  std::perror(what);
  std::exit(1);
}

void add(int poll, int socket, void* who) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = who}};
  if (::epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event) != 0) fail("epoll_ctl");
}

}  // namespace

int main(int count, char** arguments) {
  auto const limit = std::chrono::seconds(count > 2 ? std::atoi(arguments[2]) : 0);
  bool const limited = limit.count() > 0;
  int const acceptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int const on = 1;
  ::setsockopt(acceptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(count > 1 ? std::atoi(arguments[1]) : 0));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const name = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  if (::bind(acceptor, name, size) != 0 || ::listen(acceptor, SOMAXCONN) != 0) fail("listen");
  ::getsockname(acceptor, name, &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);

  int const poll = ::epoll_create1(0);
  add(poll, acceptor, nullptr);
  connections all;  // in order of their deadlines
  std::array<epoll_event, 128> events;
  std::array<char, 1024> buffer;
  for (;;) {
    int wait = -1;
    if (limited && !all.empty()) {
      auto const left = std::chrono::ceil<std::chrono::milliseconds>(all.front().deadline - steady::now()).count();
      wait = left > 0 ? static_cast<int>(left) : 0;
    }
    int const ready = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), wait);
    auto const now = limited ? steady::now() : steady::time_point();
    for (int i = 0; i < ready; ++i) {
      auto* const node = events[static_cast<std::size_t>(i)].data.ptr;
      if (node == nullptr) {
        int const socket = ::accept4(acceptor, nullptr, nullptr, SOCK_NONBLOCK);
        if (socket < 0) continue;
        ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        all.push_back({socket, now + limit});
        add(poll, socket, new connections::iterator(std::prev(all.end())));
        continue;
      }
      auto const c = *static_cast<connections::iterator*>(node);
      auto const received = ::recv(c->socket, buffer.data(), buffer.size(), 0);
      if (received < 0 && errno == EAGAIN) continue;
      if (received <= 0 ||
          ::send(c->socket, buffer.data(), static_cast<std::size_t>(received), MSG_NOSIGNAL) != received) {
        ::close(c->socket);
        all.erase(c);
        delete static_cast<connections::iterator*>(node);
        continue;
      }
      if (limited) {
        c->deadline = now + limit;
        all.splice(all.end(), all, c);
      }
    }
    while (limited && !all.empty() && all.front().deadline <= now) {
      ::shutdown(all.front().socket, SHUT_RDWR);  // the next recv() then returns 0
      all.front().deadline = now + limit;
      all.splice(all.end(), all, all.begin());
    }
  }
}
