// SPDX-License-Identifier: BSL-1.0

#include <charconv>
#include <cstdlib>
#include <fibers/detail/engine/request.hpp>
#include <fibers/exception_group.hpp>
#include <fibers/testing/sweep.hpp>
#include <fibers/timeout.hpp>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trial.hpp"

namespace fibers::testing::detail {

namespace {

namespace engine = fibers::detail;

using numbers = std::vector<std::size_t>;  // of points, ascending

// A run with an intervention at each of the given points.
class hit_trial : public trial {
 public:
  hit_trial(numbers targets, std::size_t most_points) : trial(most_points), targets_(std::move(targets)) {}

  bool hit_all() const noexcept { return hits() == targets_.size(); }

  /// One line per hit, as "cancelled at point 3, at cache.cpp:12 (load), in task 'main'".
  std::string story() const {
    std::string text;
    for (std::size_t i = 0; i < hits(); ++i) {
      text += "\n  " + std::string(i == 0 ? "" : "and again ") + verb() + " " + std::to_string(targets_[i]) + ", " +
              places_[i];
    }
    return text;
  }

 protected:
  std::size_t hits() const noexcept { return places_.size(); }

  /// Counts a point. Returns true if it must be hit.
  bool is_target(std::function<std::string()> const& where) {
    if (hit_all() || ++count_ != targets_[hits()]) return false;
    places_.push_back(where());
    return true;
  }

  virtual char const* verb() const = 0;

  void request(char const* message) {
    engine::request_cancel(main(), engine::make_request(message, cancel_origin::kind::by_hand, BOOST_CURRENT_LOCATION));
  }
  /// Returns true if a request was delivered, and neither propagated nor withdrawn.
  bool swallowed() const { return main().cancels().count() > 0 && !main().cancels().deliverable(); }

 private:
  numbers const targets_;
  std::size_t count_ = 0;
  std::vector<std::string> places_;
};

constexpr auto what_swallowed =
    "the body swallowed the request to end: it was thrown, and the body came to its end all the same; catch only to "
    "clean up, then `throw;`, or take the request back with this_task::uncancel()";

class cancel_trial final : public hit_trial {
 public:
  using hit_trial::hit_trial;

 private:
  char const* verb() const override { return "cancelled at point"; }
  void point(std::function<std::string()> const& where) override {
    if (is_target(where)) request("cancel_sweep");
  }
  bool cancelled() const override { return hits() > 0; }
  std::string returned() const override { return swallowed() ? what_swallowed : ""; }
};

// The first hit is the time limit, the second a cancellation request.
class timeout_trial final : public hit_trial {
 public:
  using hit_trial::hit_trial;

 private:
  char const* verb() const override { return hits() < 2 ? "timed out at point" : "timed out, and cancelled, at point"; }
  void call(std::function<void()> const& body) override {
    try {
      with_timeout(no_timeout, [&](timeout_scope& scope) {
        scope_ = &scope;
        body();
        swallowed_ = swallowed();
        scope_ = nullptr;
      });
    } catch (timeout_error const&) {
      if (hits() == 0) throw;
    }
  }
  void point(std::function<std::string()> const& where) override {
    if (scope_ == nullptr || !is_target(where)) return;
    if (hits() > 1) {
      request("timeout_sweep");
    } else {
      scope_->reschedule(clock::now());
      main().loop().timers().fire_due(clock::now());
    }
  }
  bool cancelled() const override { return hits() > 1; }
  std::string returned() const override { return swallowed_ ? what_swallowed : ""; }

  timeout_scope* scope_ = nullptr;
  bool swallowed_ = false;
};

class failure_trial final : public hit_trial {
 public:
  using hit_trial::hit_trial;

 private:
  char const* verb() const override { return "no memory for allocation"; }
  void allocation(std::function<std::string()> const& where) override {
    if (is_target(where)) throw std::bad_alloc();
  }
  bool expects(std::exception_ptr const& error) const override {
    if (hits() == 0) return false;
    try {
      std::rethrow_exception(error);
    } catch (std::bad_alloc const&) {
      return true;
    } catch (exception_group const& group) {
      return group.contains<std::bad_alloc>();
    } catch (...) {
      return false;
    }
  }
};

// FIBERS_POINT, as "3" or "3,7".
std::optional<numbers> asked_points() {
  auto const* const variable = std::getenv("FIBERS_POINT");
  if (variable == nullptr || *variable == '\0') return {};
  numbers points;
  std::string_view text(variable);
  while (true) {
    std::size_t number = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number <= (points.empty() ? 0 : points.back())) break;
    points.push_back(number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return points;
    if (text.front() != ',') break;
    text.remove_prefix(1);
  }
  throw std::invalid_argument(std::string("fibers: FIBERS_POINT is '") + variable +
                              "'; it may be the number of a point, such as 3, or of a pair, such as 3,7");
}

std::string join(numbers const& points) {
  std::string text;
  for (auto const point : points) {
    if (!text.empty()) text += ',';
    text += std::to_string(point);
  }
  return text;
}

template <class Trial>
std::size_t sweep(char const* name, std::function<void()> const& body, sweep_options options) {
  refuse_nesting(name);
  std::size_t runs = 0;
  std::unique_ptr<trial> latest;
  auto const play_with = [&](numbers const& points) {
    ++runs;
    return play(
        latest, [&] { return std::make_unique<Trial>(points, options.most_points); }, body);
  };
  // Returns true if all points were reached.
  auto const run = [&](numbers const& points) {
    auto wrong = play_with(points);
    auto const& played = static_cast<hit_trial const&>(*latest);
    if (wrong.empty()) return played.hit_all();
    auto story = played.story() + "\n  to repeat only this run: FIBERS_POINT=" + join(points);
    if (auto without = play_with({}); !without.empty()) {
      wrong = std::move(without);
      story = "\n  also in a run in which nothing was done to it";
    }
    throw failure(std::string(name) + ": " + wrong + story);
  };

  if (auto const asked = asked_points()) {
    run(*asked);
    check_for_leaks(name);
    return runs;
  }
  for (std::size_t first = 1; run({first}); ++first) {
    for (std::size_t second = first + 1; options.pairs && run({first, second}); ++second) {
    }
  }
  check_for_leaks(name);
  return runs;
}

}  // namespace

std::size_t cancel_sweep(std::function<void()> const& body, sweep_options options) {
  return sweep<cancel_trial>("cancel_sweep", body, options);
}

std::size_t timeout_sweep(std::function<void()> const& body, sweep_options options) {
  return sweep<timeout_trial>("timeout_sweep", body, options);
}

std::size_t failure_sweep(std::function<void()> const& body, sweep_options options) {
  return sweep<failure_trial>("failure_sweep", body, options);
}

}  // namespace fibers::testing::detail
