// SPDX-License-Identifier: BSL-1.0

// Plays scenarios (SCENARIO.md) on this library, in virtual time, and prints their traces. Scenarios are small
// concurrent programs in JSON. Their traces must equal those of asyncio.
//
//   player FILE…   a file holds one scenario, an array of them, or JSON Lines
//   player -       JSON Lines on standard input; a trace is printed as soon as its line has arrived
//
// Prints one trace per line, in the order of the scenarios; {"name": …, "error": …} for a scenario that cannot be
// played, and for an invalid line.

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "check.hpp"
#include "scenario.hpp"
#include "statement.hpp"

namespace parity {
namespace {

// Runs in a task of its own, the only one that gets the deadlock error.
void conduct(scenario& play) {
  auto& main = play.new_record();
  play.created(main, "main", fibers::spawn(task_body(play, main, play.text().at("main").as_array(), nullptr)).detach());
  try {
    main.task.wait();
    for (;;) {
      // Tasks that were spawned at this instant begin first.
      for (int i = 0; i < 3; ++i) fibers::this_task::yield();
      std::vector<fibers::task_handle<std::string>> left;
      for (auto const& each : play.records()) {
        if (!each.task.done()) left.push_back(each.task);
      }
      if (left.empty()) break;
      for (auto const& task : left) task.cancel();
      for (auto const& task : left) task.wait();
    }
  } catch (fibers::deadlock_error const&) {
    play.deadlock();
    while (!play.unwind()) fibers::this_task::yield();
  }
}

json::object trace_of(scenario& played) {
  if (!played.problem().empty()) throw unplayable(played.problem());
  json::object tasks;
  std::int64_t end = 0;
  for (auto const& each : played.records()) {
    json::array events;
    for (auto const& [time, event] : each.events) {
      events.push_back(json::array{time, event});
      end = std::max(end, time);
    }
    tasks[each.name] = std::move(events);
  }
  json::object trace{{"name", played.text().at("name")}, {"end_ms", end}, {"tasks", std::move(tasks)}};
  if (played.in_deadlock()) trace["deadlock"] = true;
  return trace;
}

json::object play(json::value const& text) {
  auto const depth = check(text);
  scenario played(text.as_object());
  fibers::run_options const options{.clock = fibers::clock_kind::virtual_time,
                                    .stack_size = (64 + 16 * depth) * 1024,
                                    .shutdown_report_after = fibers::no_timeout,
                                    .on_unhandled = [](std::string const&, std::exception_ptr const&) {}};
  fibers::run(options, [&] { conduct(played); });
  return trace_of(played);
}

// --- text ---

json::object play_or_say_why_not(json::value const& text) {
  try {
    return play(text);
  } catch (std::exception const& error) {
    auto const* const object = text.if_object();
    auto const* const name = object != nullptr ? object->if_contains("name") : nullptr;
    return {{"name", name != nullptr ? *name : json::value()}, {"error", error.what()}};
  }
}

json::value parse(std::string const& text, boost::system::error_code& failed) {
  json::parse_options options;
  options.max_depth = 4 * deepest;  // JSON levels for each body: body, statement, clauses
  return json::parse(text, failed, {}, options);
}

void print(json::object const& trace) { std::cout << json::serialize(trace) << '\n'; }

bool is_blank(std::string const& line) { return line.find_first_not_of(" \t\r") == std::string::npos; }

void play_line(std::string const& line) {
  boost::system::error_code failed;
  auto const value = parse(line, failed);
  print(failed ? json::object{{"name", nullptr}, {"error", "no JSON: " + failed.message()}}
               : play_or_say_why_not(value));
}

void play_lines(std::istream& lines) {
  for (std::string line; std::getline(lines, line);) {
    if (!is_blank(line)) play_line(line), std::cout.flush();
  }
}

// Parses the whole text, if it is one JSON value; otherwise line by line.
void play_file(std::istream& file) {
  std::string const text{std::istreambuf_iterator<char>(file), {}};
  boost::system::error_code failed;
  auto const whole = parse(text, failed);
  if (failed) {
    std::istringstream lines(text);
    play_lines(lines);
  } else if (whole.is_array()) {
    for (auto const& each : whole.as_array()) print(play_or_say_why_not(each));
  } else {
    print(play_or_say_why_not(whole));
  }
}

}  // namespace
}  // namespace parity

int main(int argc, char* argv[]) {
  std::ios::sync_with_stdio(false);
  if (argc < 2) {
    std::cerr << "player FILE… or player -\n";
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    std::string const name = argv[i];
    if (name == "-") {
      parity::play_lines(std::cin);
      continue;
    }
    std::ifstream file(name);
    if (!file) {
      std::cerr << "cannot read " << name << '\n';
      return 1;
    }
    parity::play_file(file);
  }
}
