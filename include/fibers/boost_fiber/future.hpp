// SPDX-License-Identifier: BSL-1.0
#pragma once

// Tasks wait for futures of Boost.Fiber.
//
// A wait of Boost.Fiber cannot be withdrawn. Therefore one Boost fiber for each future waits on behalf of the tasks. A
// cancelled task leaves; a task that waits again finds the same Boost fiber. This fiber ends when the future is ready,
// or when a periodic check, each 200 ms, finds no waiting task: otherwise its thread could not end before the promise
// is set. The fiber owns the shared state, and does not use the future itself, which may be moved and destroyed.

#include <boost/assert/source_location.hpp>
#include <boost/fiber/exceptions.hpp>
#include <boost/fiber/future/future.hpp>
#include <boost/fiber/future/future_status.hpp>
#include <boost/intrusive_ptr.hpp>
#include <chrono>
#include <fibers/boost_fiber/call.hpp>
#include <fibers/boost_fiber/host.hpp>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/engine/wait_list.hpp>
#include <fibers/detail/engine/waiter.hpp>
#include <fibers/detail/parts/spinlock.hpp>
#include <memory>
#include <mutex>
#include <utility>

namespace fibers {

namespace detail {

using boost_future_state = boost::intrusive_ptr<boost::fibers::detail::shared_state_base>;

/// Returns the shared state of a future. A C-style cast is the only access to its private base.
template <class T>
boost_future_state state_of(boost::fibers::detail::future_base<T> const& future) {
  if (future.valid()) return future.state_;
  throw boost::fibers::future_uninitialized();
}
template <class T>
boost_future_state state_of(boost::fibers::future<T> const& future) {
  return state_of((boost::fibers::detail::future_base<T> const&)future);
}
template <class T>
boost_future_state state_of(boost::fibers::shared_future<T> const& future) {
  return state_of((boost::fibers::detail::future_base<T> const&)future);
}

class boost_future_watch {
 public:
  static std::shared_ptr<boost_future_watch> of(boost_future_state const& state, boost::source_location const& place) {
    auto const& all = boost_host::here(place).future_watches();
    auto watch = all->find(state.get());
    if (watch != nullptr) return watch;
    watch = std::make_shared<boost_future_watch>();
    all->add(state.get(), watch);
    try {
      boost_host::start([state, all, watch] {
        while (state->wait_for(patience) != boost::fibers::future_status::ready) {
          if (all->remove_if(state.get(), [&] { return watch->leave(); })) return;
        }
        all->remove(state.get());
        watch->end();
      });
    } catch (...) {
      all->remove(state.get());
      throw;
    }
    return watch;
  }

  /// Waits for the future. May suspend. Returns false if the Boost fiber has just left: the caller tries again.
  bool wait(task_state& self, boost::source_location const& place) {
    std::unique_lock guard(lock_);
    if (left_) return false;
    if (!ready_) {
      outside_wait const outside(self);
      simple_waiter<> w(self, place, waiters_);
      w.wait(guard);
    }
    return true;
  }

 private:
  static constexpr std::chrono::milliseconds patience{200};

  bool leave() noexcept {
    std::scoped_lock const guard(lock_);
    left_ = waiters_.empty();
    return left_;
  }
  void end() noexcept {
    owed_wakes woken;
    std::scoped_lock const guard(lock_);
    ready_ = true;
    waiters_.notify_all(woken);
  }

  spinlock lock_;
  bool ready_ = false;
  bool left_ = false;
  wait_list<> waiters_{lock_};
};

/// Returns the result of a future that is ready. A Boost fiber calls get(), which may suspend its caller even then, if
/// another thread uses the future.
template <class Future>
decltype(auto) get_from(Future& future, boost::source_location const& place) {
  auto take = [&]() -> decltype(auto) { return future.get(); };
  return boost_call<decltype(take)>(this_task_state(place), place, take).wait();
}

}  // namespace detail

namespace boost_fiber {

/// A boost::fibers::future or shared_future of any type.
template <class Future>
concept waitable_future = requires(Future const& future) {
  fibers::detail::state_of(future);
};

/// Waits until the future is ready.
///
/// May suspend; cancellation point: the future is unchanged. (A Boost fiber waits for up to 200 ms longer; the thread
/// cannot end before it.) Throws boost::fibers::future_uninitialized for a future that is not valid().
template <waitable_future Future>
void wait(Future const& future, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  auto& self = fibers::detail::enter(place);
  auto const state = fibers::detail::state_of(future);
  while (!fibers::detail::boost_future_watch::of(state, place)->wait(self, place)) {
  }
}

/// Calls wait(), then the future's get(): returns the value, or throws the exception of the promise.
///
/// May suspend; cancellation point: if cancelled, the future stays valid, and its value is not lost.
template <class T>
T get(boost::fibers::future<T>& future, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  wait(future, place);
  return fibers::detail::get_from(future, place);
}
template <class T>
T get(boost::fibers::future<T>&& future, boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  return get(future, place);
}
template <class T>
decltype(auto) get(boost::fibers::shared_future<T> const& future,
                   boost::source_location const& place = BOOST_CURRENT_LOCATION) {
  wait(future, place);
  return fibers::detail::get_from(future, place);
}

}  // namespace boost_fiber

}  // namespace fibers
