// SPDX-License-Identifier: BSL-1.0

// One block with a time limit: when it is interrupted, when it is not, and what is thrown.

#include <fibers/timeout.hpp>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "record.hpp"
#include "scopes.hpp"

using namespace std::chrono_literals;
using fibers::cancelled_error;
using fibers::move_on_after;
using fibers::sleep_for;
using fibers::spawn;
using fibers::timeout_error;
using fibers::timeout_scope;
using fibers::with_timeout;
using fibers::with_timeout_at;
using fibers::testing::at;
using fibers::testing::at_exit;
using fibers::testing::ends;
using fibers::testing::expired;
using fibers::testing::virtual_time;
namespace this_task = fibers::this_task;

// --- when ---

TEST_CASE_METHOD(virtual_time, "timeout: ends a block that takes longer, and withdraws its request", "[TO-01]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&](timeout_scope& scope) {
        at_exit const leaving{[&] { seen(expired(scope)); }};
        sleep_for(9s);
        seen("not reached");
      });
    }));
    sleep_for(1s);
    seen("goes on");
  });
  CHECK(seen == "expired@1, timed out@1, goes on@2");
}

TEST_CASE_METHOD(virtual_time, "timeout: takes a deadline too", "[TO-02]") {
  run([&] {
    seen(ends([&] {
      with_timeout_at(at(1s), [&](timeout_scope& scope) {
        at_exit const leaving{[&] { seen(scope.when() == at(1s) ? expired(scope) : "another deadline"); }};
        sleep_for(9s);
      });
    }));
  });
  CHECK(seen == "expired@1, timed out@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: inside, the interrupted wait throws cancelled_error", "[TO-03]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          seen("cancelled inside, asked " + std::to_string(this_task::cancelling()));
          throw;
        }
      });
    }));
  });
  CHECK(seen == "cancelled inside, asked 1@1, timed out@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: does not disturb a block that ends in time", "[TO-05]") {
  run([&] {
    seen(ends([&] {
      with_timeout(2s, [&](timeout_scope& scope) {
        sleep_for(1s);
        seen(scope.when() == at(2s) ? expired(scope) : "another deadline");
      });
    }));
    seen(ends([] { sleep_for(9s); }));
  });
  CHECK(seen == "not expired@1, returned@1, returned@10");
}

TEST_CASE_METHOD(virtual_time, "timeout: removes its timer, so the clock does not jump to it") {
  run([&] {
    with_timeout(5s, [] { sleep_for(1s); });
    seen(ends([] {
      try {
        sleep_for(fibers::no_timeout);
      } catch (fibers::deadlock_error const&) {
      }
    }));
  });
  CHECK(seen == "returned@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: with no_timeout it never expires", "[TO-06]") {
  auto const body = [&](timeout_scope& scope) {
    sleep_for(24h * 365);
    seen(scope.when() == fibers::no_timeout ? expired(scope) : "another deadline");
  };
  run([&] {
    seen(ends([&] { with_timeout(fibers::no_timeout, body); }));
    seen(ends([&] { with_timeout_at(fibers::no_timeout, body); }));
    seen(ends([&] { with_timeout(fibers::duration::max(), body); }));
    seen(ends([&] { return move_on_after(fibers::no_timeout, body); }));
    seen(ends([&] { return fibers::move_on_at(fibers::no_timeout, body); }));
  });
  CHECK(seen ==
        "not expired@3.1536e+07, returned@3.1536e+07, not expired@6.3072e+07, returned@6.3072e+07, "
        "not expired@9.4608e+07, returned@9.4608e+07, not expired@1.26144e+08, returned 1@1.26144e+08, "
        "not expired@1.5768e+08, returned 1@1.5768e+08");
}

TEST_CASE_METHOD(virtual_time, "timeout: of zero ends the first wait, at once", "[TO-07][TO-08]") {
  auto const zero = [&](auto wait) {
    return [&, wait] {
      with_timeout(0s, [&](timeout_scope& scope) {
        at_exit const leaving{
            [&] { seen(scope.when() == fibers::clock::now() ? expired(scope) : "another deadline"); }};
        wait();
        seen("not reached");
      });
    };
  };
  run([&] {
    sleep_for(1s);
    seen(ends(zero([] { sleep_for(9s); })));
    seen(ends(zero([] { sleep_for(0s); })));
    seen(ends(zero([] { this_task::yield(); })));
    seen(ends(zero([] { this_task::checkpoint(); })));
  });
  CHECK(seen == "expired@1, timed out@1, expired@1, timed out@1, expired@1, timed out@1, expired@1, timed out@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: of zero ends the first wait though other tasks are ready", "[TO-08]") {
  run([&] {
    bool stop = false;
    auto const busy = spawn([&] {
      while (!stop) this_task::yield();
    });
    this_task::yield();
    seen(ends([] {
      with_timeout(0s, [] {
        this_task::yield();
        sleep_for(9s);
      });
    }));
    seen(ends([] { with_timeout_at(at(0s), [] { this_task::yield(); }); }));
    stop = true;
  });
  CHECK(seen == "timed out@0, timed out@0");
}

TEST_CASE_METHOD(virtual_time, "timeout: a negative limit or a past deadline is the same", "[TO-09]") {
  auto const body = [&](timeout_scope& scope) {
    at_exit const leaving{[&] { seen(scope.when() < fibers::clock::now() ? expired(scope) : "another deadline"); }};
    sleep_for(0s);
  };
  run([&] {
    sleep_for(5s);
    seen(ends([&] { with_timeout(-1s, body); }));
    seen(ends([&] { with_timeout_at(at(4s), body); }));
    seen(ends([&] { with_timeout(fibers::duration::min(), body); }));
    seen(ends([&] { with_timeout_at(fibers::time_point::min(), body); }));
    seen(ends([&] { return fibers::move_on_at(fibers::time_point::min(), body); }));
  });
  CHECK(seen ==
        "expired@5, timed out@5, expired@5, timed out@5, expired@5, timed out@5, expired@5, timed out@5, "
        "expired@5, returned 0@5");
}

TEST_CASE_METHOD(virtual_time, "timeout: an expired limit changes nothing where nothing waits", "[TO-10]") {
  auto const body = [&](timeout_scope& scope) {
    spawn([] {}).detach();  // no suspension point
    seen(expired(scope));
    return 5;
  };
  run([&] {
    seen(ends([&] { return with_timeout(0s, body); }));
    seen(ends([&] { return with_timeout(-1s, body); }));
    seen(ends([&] { return with_timeout_at(at(-1s), body); }));
    seen(ends([&] { return *move_on_after(0s, body); }));
    seen(ends([] { this_task::yield(); }));
  });
  CHECK(seen ==
        "not expired@0, returned 5@0, not expired@0, returned 5@0, not expired@0, returned 5@0, "
        "not expired@0, returned 5@0, returned@0");
}

TEST_CASE_METHOD(virtual_time, "timeout: a wait that completes at that instant returns, and the next one is ended") {
  bool const waits_again = GENERATE(false, true);
  run([&] {
    seen(ends([&] {
      with_timeout(9s, [&](timeout_scope& scope) {
        auto const helper = spawn([&] { scope.reschedule(at(1s)); });
        sleep_for(1s);  // its timer is due before the moved one
        seen(expired(scope));
        if (waits_again) helper.wait();
      });
    }));
    seen(ends([] { sleep_for(1s); }));
  });
  CHECK(seen == (waits_again ? "expired@1, timed out@1, returned@2" : "expired@1, returned@1, returned@2"));
}

// --- results ---

TEST_CASE_METHOD(virtual_time, "timeout: another error passes unchanged", "[TO-11]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&](timeout_scope& scope) {
        at_exit const leaving{[&] { seen(expired(scope)); }};
        throw std::runtime_error("no");
      });
    }));
    seen(ends([] { sleep_for(9s); }));
  });
  CHECK(seen == "not expired@0, failed: no@0, returned@9");
}

TEST_CASE_METHOD(virtual_time, "timeout: an error that answers to it is thrown instead", "[TO-13][TO-30]") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          throw std::runtime_error("broken off");
        }
      });
    }));
    seen(ends([] { sleep_for(9s); }));
  });
  CHECK(seen == "failed: broken off@1, returned@10");
}

TEST_CASE_METHOD(virtual_time, "timeout: a cancel before its deadline stays a cancellation", "[TO-14]") {
  run([&] {
    auto const child = spawn([&] {
      seen(ends([&] {
        with_timeout(2s, [&](timeout_scope& scope) {
          at_exit const leaving{[&] { seen(expired(scope)); }};
          sleep_for(9s);
        });
      }));
    });
    sleep_for(1s);
    child.cancel("enough");
    child.wait();
  });
  CHECK(seen == "not expired@1, cancelled: enough, asked 1@1");
}

TEST_CASE_METHOD(virtual_time, "timeout: a task that handles it is not cancelled", "[TO-15]") {
  run([&] {
    auto const child = spawn([&] {
      try {
        with_timeout(1s, [] { sleep_for(9s); });
      } catch (timeout_error const&) {
      }
    });
    child.wait();
    seen(child.cancelled() ? "cancelled" : "not cancelled");
    auto other = spawn([] { with_timeout(1s, [] { sleep_for(9s); }); });
    other.wait();
    seen(other.cancelled() ? "cancelled" : "not cancelled");
    seen(ends([&] { other.get(); }));
  });
  CHECK(seen == "not cancelled@1, not cancelled@2, timed out@2");
}

TEST_CASE_METHOD(virtual_time, "timeout: a block that swallows it ends as it likes, undisturbed", "[TO-26][TO-30]") {
  run([&] {
    seen(ends([&] {
      return with_timeout(1s, [&](timeout_scope& scope) {
        seen(ends([] { sleep_for(9s); }));
        seen(expired(scope));
        sleep_for(3s);
        return 5;
      });
    }));
    seen(ends([] { sleep_for(9s); }));
  });
  CHECK(seen == "cancelled, asked 1@1, expired@1, returned 5@4, returned@13");
}

TEST_CASE_METHOD(virtual_time, "timeout: clean-up takes the time it needs") {
  run([&] {
    seen(ends([&] {
      with_timeout(1s, [&] {
        try {
          sleep_for(9s);
        } catch (cancelled_error const&) {
          sleep_for(3s);
          throw;
        }
      });
    }));
  });
  CHECK(seen == "timed out@4");
}

TEST_CASE_METHOD(virtual_time, "timeout: a cancelled_error that the body throws itself is not converted") {
  run([&] {
    seen(ends([] { with_timeout(1s, [] { throw cancelled_error("by itself"); }); }));
    auto const ended = spawn([] { sleep_for(9s); });
    ended.cancel_and_wait();
    seen(ends([&] { with_timeout(1s, [&] { ended.handle().get(); }); }));
  });
  CHECK(seen == "cancelled: by itself@0, cancelled@0");
}

// --- in real time ---

TEST_CASE("timeout: in real time it expires when it is due, also in a block that computes", "[TO-17]") {
  std::string seen;
  auto const spin = [](fibers::duration time) {
    auto const until = fibers::clock::now() + time;
    while (fibers::clock::now() < until) {
    }
  };
  auto const begin = fibers::clock::now();
  fibers::run([&] {
    seen += ends([] { with_timeout(2ms, [] { sleep_for(1h); }); });
    seen += ", " + ends([&] {
              with_timeout(1ms, [&] {
                move_on_after(2ms, [&] {
                  spin(4ms);  // past both deadlines
                  sleep_for(1h);
                });
                sleep_for(1h);
              });
            });
    seen += ", " + ends([&] {
              with_timeout(1ms, [] {
                for (;;) this_task::checkpoint();
              });
            });
  });
  CHECK(seen == "timed out, timed out, timed out");
  CHECK(fibers::clock::now() - begin >= 7ms);
}
