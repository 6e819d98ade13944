// SPDX-License-Identifier: BSL-1.0

#include <charconv>
#include <cstdlib>
#include <fibers/testing/explore.hpp>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trial.hpp"

namespace fibers::testing::detail {

namespace {

namespace engine = fibers::detail;

class chosen_trial : public trial, private engine::step_chooser {
 protected:
  using trial::trial;

 public:
  std::size_t choices() const noexcept { return choices_; }

 private:
  void call(std::function<void()> const& body) override {
    engine::loop::current()->choose_steps(this);
    body();
  }
  // Called if there are at least two alternatives.
  std::size_t choose(std::size_t count) override {
    ++choices_;
    return choose_one(count);
  }
  virtual std::size_t choose_one(std::size_t count) = 0;

  std::size_t choices_ = 0;
};

class random_trial final : public chosen_trial {
 public:
  random_trial(std::uint64_t seed, std::size_t most_points) : chosen_trial(most_points), generator_(seed) {}

 private:
  std::size_t choose_one(std::size_t count) override { return static_cast<std::size_t>(generator_() % count); }

  std::mt19937_64 generator_;
};

// --- all schedules ---

// A choice, and the number of alternatives.
struct choice {
  std::size_t chosen, count;
};
using path = std::vector<choice>;

// Follows the given steps, and then chooses the first alternative each time.
class told_trial final : public chosen_trial {
 public:
  told_trial(path& steps, std::size_t most_points) : chosen_trial(most_points), steps_(steps), told_(steps.size()) {}

 private:
  std::size_t choose_one(std::size_t count) override {
    if (next_ == told_) {
      steps_.push_back({0, count});
      return 0;
    }
    auto& step = steps_[next_++];
    if (step.count != 0 && step.count != count) changed_ = true;
    step.count = count;
    if (step.chosen >= count) changed_ = true;
    return changed_ ? 0 : step.chosen;
  }
  std::string returned() const override {
    return changed_ ? "the body does not do the same each time: there is another choice of tasks than the last time"
                    : "";
  }

  path& steps_;
  std::size_t told_;
  std::size_t next_ = 0;
  bool changed_ = false;
};

// Advances to the next path in depth-first order. Returns false if there is none.
bool go_on(path& steps, std::size_t most_preemptions) {
  std::size_t preemptions = 0;
  for (auto const& step : steps) preemptions += step.chosen != 0 ? 1 : 0;
  for (; !steps.empty(); steps.pop_back()) {
    auto& last = steps.back();
    if (last.chosen != 0) --preemptions;
    if (last.chosen + 1 < last.count && preemptions < most_preemptions) {
      ++last.chosen;
      return true;
    }
  }
  return false;
}

// Runs one schedule after the other. Returns true if it has run all.
template <class Run>
bool walk(systematic const& options, std::size_t const& runs, Run& run) {
  for (std::size_t preemptions = 0; preemptions <= options.preemptions; ++preemptions) {
    path steps;
    do {
      if (runs == options.most_runs) return false;
      run(steps);
    } while (go_on(steps, preemptions));
  }
  return true;
}

// "12:1,20:2": the second alternative at the 12th choice, the third at the 20th, the first at all others.
std::string to_text(path const& steps) {
  std::string text;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].chosen == 0) continue;
    if (!text.empty()) text += ',';
    text.append(std::to_string(i + 1)).append(":").append(std::to_string(steps[i].chosen));
  }
  return text.empty() ? "0:0" : text;
}

// --- environment variables ---

template <class Number>
bool take_number(std::string_view& text, Number& number) {
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return error == std::errc();
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

char const* variable(char const* name) {
  auto const* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

std::optional<std::uint64_t> asked_seed() {
  auto const* const value = variable("FIBERS_SEED");
  if (value == nullptr) return {};
  std::string_view text(value);
  std::uint64_t seed = 0;
  if (take_number(text, seed) && text.empty()) return seed;
  throw std::invalid_argument(std::string("fibers: FIBERS_SEED is '") + value + "'; it may be a number, such as 17");
}

std::optional<path> asked_schedule() {
  auto const* const value = variable("FIBERS_SCHEDULE");
  if (value == nullptr) return {};
  constexpr std::size_t most = 1'000'000;
  path steps;
  std::string_view text(value);
  std::size_t number = 0, chosen = 0;
  do {
    if (!take_number(text, number) || !take(text, ':') || !take_number(text, chosen) || number > most) break;
    if (number == 0 && chosen == 0 && steps.empty() && text.empty()) return steps;
    if (number <= steps.size()) break;
    steps.resize(number, {0, 0});
    steps.back().chosen = chosen;
    if (text.empty()) return steps;
  } while (take(text, ','));
  throw std::invalid_argument(std::string("fibers: FIBERS_SCHEDULE is '") + value +
                              "'; it may be what a failure has named, such as 12:1,20:2");
}

[[noreturn]] void fail(std::string const& wrong, std::string const& which, std::string const& how_to_repeat) {
  throw failure("explore: " + wrong + "\n  in " + which + "\n  to repeat only this run: " + how_to_repeat);
}

}  // namespace

exploration explore(std::function<void()> const& body, std::size_t runs, explore_options options) {
  refuse_nesting("explore");
  auto const asked = asked_seed();
  if (asked.has_value()) runs = 1;
  std::unique_ptr<trial> latest;
  std::size_t played = 0, choices = 0;
  for (; played < runs; ++played) {
    auto const seed = asked.value_or(options.seed + played);
    auto const wrong = play(
        latest, [&] { return std::make_unique<random_trial>(seed, options.most_points); }, body);
    choices += static_cast<chosen_trial const&>(*latest).choices();
    if (wrong.empty()) continue;
    auto const number = std::to_string(seed);
    fail(wrong,
         "the schedule with seed " + number + " (run " + std::to_string(played + 1) + " of " + std::to_string(runs) +
             ")",
         "FIBERS_SEED=" + number);
  }
  check_for_leaks("explore");
  return {.runs = played, .choices = choices, .complete = false};
}

exploration explore(std::function<void()> const& body, systematic options) {
  refuse_nesting("explore");
  auto const asked = asked_schedule();
  std::unique_ptr<trial> latest;
  std::size_t runs = 0, choices = 0;
  auto const run = [&](path& steps) {
    ++runs;
    auto const told = steps;
    auto const make = [&] {
      steps = told;
      return std::make_unique<told_trial>(steps, options.most_points);
    };
    auto const wrong = play(latest, make, body);
    choices += static_cast<chosen_trial const&>(*latest).choices();
    if (wrong.empty()) return;
    auto const text = to_text(steps);
    fail(wrong, "the schedule " + text + " (run " + std::to_string(runs) + ")", "FIBERS_SCHEDULE=" + text);
  };

  bool complete = false;
  if (asked.has_value()) {
    auto steps = *asked;
    run(steps);
  } else {
    complete = walk(options, runs, run);
  }
  check_for_leaks("explore");
  return {.runs = runs, .choices = choices, .complete = complete};
}

}  // namespace fibers::testing::detail
