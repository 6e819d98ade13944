// SPDX-License-Identifier: BSL-1.0

// A chat server
//
// Each line that a client sends goes to all others. Each client has a bounded queue of lines that are still to be sent
// to it. A talking client never waits for listening clients, and a client whose queue overflows is disconnected. One
// slow client therefore cannot stall the others, and costs no more memory than its queue.
//
//   samples/run chat 7001
//   nc 127.0.0.1 7001    # in other terminals, several times
//
// Type /quit, or end nc, to leave. To simulate a slow client, stop one nc with Ctrl-Z while another one sends much:
//
//   yes 'the same again' | head -n 500000 | nc 127.0.0.1 7001

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <list>
#include <memory>
#include <string>

#include "server.hpp"

namespace asio = boost::asio;
using fibers::use_fiber;
using namespace std::chrono_literals;

constexpr std::size_t longest_line = 1000;
constexpr std::size_t longest_queue = 100;  // in lines

class guest {
 public:
  explicit guest(tcp::socket socket) : socket_(std::move(socket)) {
    socket_.set_option(tcp::socket::send_buffer_size(64 * 1024));  // the kernel's buffer adds to the queue
  }

  /// Queues a line for this guest. Does not suspend. If the queue is full, the guest is disconnected.
  void hear(std::shared_ptr<std::string const> line) {
    if (to_hear_.try_put(std::move(line))) return;
    why_ = "You do not listen.";
    too_slow_.set();
  }

  /// Disconnects the guest once it has received the lines that are queued.
  void no_more_to_hear() { to_hear_.shutdown(); }

  /// Calls said(line) for each line received, until the guest leaves or is disconnected.
  template <class Said>
  void stay(Said said) {
    fibers::race([&] { talk(said); }, [&] { listen(); }, [&] { too_slow_.wait(); });
  }

  /// Tells a disconnected guest the reason, with a time limit, since the guest may have stopped reading.
  void say_good_bye() {
    if (why_.empty()) return;
    fibers::move_on_after(5s, [&] { send("\n" + why_ + " Good bye.\n"); });
    hang_up(socket_);
  }

 private:
  template <class Said>
  void talk(Said said) {
    std::string received;
    auto const buffer = asio::dynamic_buffer(received, longest_line);
    for (boost::system::error_code error;;) {
      auto const size = asio::async_read_until(socket_, buffer, '\n', use_fiber[error]);
      if (error == asio::error::not_found) why_ = "This line is too long.";
      if (error) return;
      auto const line = received.substr(0, size);
      if (line == "/quit\n") return;
      said(line);
      received.erase(0, size);
      fibers::this_task::yield();  // other guests run after each line
    }
  }

  void listen() {
    for (auto const& line : to_hear_) {
      if (!send(*line)) return;
    }
  }

  bool send(std::string const& text) {
    boost::system::error_code error;
    asio::async_write(socket_, asio::buffer(text), use_fiber[error]);
    return !error;
  }

  tcp::socket socket_;
  fibers::queue<std::shared_ptr<std::string const>> to_hear_{longest_queue};  // all guests share one copy of a line
  fibers::event too_slow_;
  std::string why_;  // the reason for disconnecting the guest
};

class hall {
 public:
  void welcome(tcp::socket socket) {
    if (closed_) return;
    auto const name = "guest " + std::to_string(++so_far_);
    guest me(std::move(socket));
    {
      auto const seat = guests_.insert(guests_.end(), &me);
      fibers::cleanup_guard const leave([&] {
        guests_.erase(seat);
        tell_all(name + " has left\n");
      });
      tell_all(name + " has come\n");
      me.stay([&](std::string const& line) { tell_all(name + ": " + line, &me); });
    }
    me.say_good_bye();
  }

  void close() {
    tell_all("The server ends. Good bye.\n");
    closed_ = true;
    for (auto* const one : guests_) one->no_more_to_hear();
  }

 private:
  void tell_all(std::string const& text, guest const* but = nullptr) {
    if (closed_) return;
    auto const line = std::make_shared<std::string const>(text);
    for (auto* const one : guests_) {
      if (one != but) one->hear(line);
    }
  }

  std::list<guest*> guests_;
  int so_far_ = 0;
  bool closed_ = false;
};

int main(int argc, char** argv) {
  return serve_on_port(argc, argv, [](tcp::acceptor& acceptor) {
    hall chat;
    auto const welcome = [&](tcp::socket socket) { chat.welcome(std::move(socket)); };
    auto const serve = [&] { fibers::serve(acceptor, welcome, {.grace = 5s}); };
    fibers::race(serve, [&] {
      fibers::wait_for_signal({SIGINT, SIGTERM});
      chat.close();
    });
  });
}
