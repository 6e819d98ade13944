// SPDX-License-Identifier: BSL-1.0

// Plays scenarios on this library, in virtual time, and prints what became of each of their tasks: small concurrent
// programs as JSON, whose traces must equal those that asyncio gives.
//
//   player FILE…   each: one scenario, an array of them, or JSON Lines
//   player -       JSON Lines on standard input
//
// One trace a line, in the order of the scenarios; {"name": …, "error": …} for one that cannot be played.

#include <algorithm>
#include <boost/json.hpp>
#include <cstdint>
#include <deque>
#include <fibers/fibers.hpp>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace json = boost::json;
using milliseconds = std::chrono::milliseconds;

// --- what a scenario throws ---

struct scenario_error : std::runtime_error {  // E1, E2, E3, misuse
  using runtime_error::runtime_error;
};

struct unplayable : std::runtime_error {
  using runtime_error::runtime_error;
};

// What it is called in a trace, and which handler takes it.
struct spelling {
  std::string text;
  std::string handler;
};

spelling spell(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (fibers::cancelled_error const& e) {
    return {e.message().empty() ? "cancelled" : "cancelled(" + e.message() + ")", "cancelled"};
  } catch (scenario_error const& e) {
    return {e.what(), "error"};
  } catch (fibers::timeout_error const&) {
    return {"timeout", "timeout"};
  } catch (fibers::exception_group const& group) {
    std::vector<std::string> texts;
    for (auto const& leaf : group.leaves()) texts.push_back(spell(leaf).text);
    std::sort(texts.begin(), texts.end());
    std::string joined;
    for (auto const& text : texts) joined += (joined.empty() ? "" : ",") + text;
    return {"group(" + joined + ")", "group"};
  }
}

std::string text_of(json::value const& value) {
  if (value.is_null()) return "none";
  if (value.is_string()) return std::string(value.as_string());
  return std::to_string(value.to_number<std::int64_t>());
}

// --- a scenario and its tasks ---

struct record {
  std::string name;  // in the trace
  std::vector<std::pair<std::int64_t, std::string>> events = {};
  std::string value = "none";  // what its body returned
  fibers::task_handle<std::string> task = {};
};

struct scenario {
  json::object const& text;
  std::deque<record> records = {};  // in the order of creation
  std::map<std::string, record*> latest = {};
  std::map<std::string, int> created = {};
  std::map<std::string, fibers::mutex> locks = {};
  std::map<std::string, fibers::event> events = {};
  std::map<std::string, fibers::condition_variable> conditions = {};
  std::map<std::string, std::unique_ptr<fibers::semaphore>> semaphores = {};
  std::map<std::string, std::unique_ptr<fibers::barrier>> barriers = {};
  std::map<std::string, std::unique_ptr<fibers::queue<std::string>>> queues = {};
  bool deadlock = false;
  bool over = false;  // nothing is traced any more

  std::int64_t size(char const* kind, std::string const& name, std::int64_t otherwise) const {
    auto const* const sizes = text.if_contains(kind);
    auto const* const size = sizes != nullptr ? sizes->as_object().if_contains(name) : nullptr;
    return size != nullptr ? size->to_number<std::int64_t>() : otherwise;
  }
};

// What is around a statement.
struct surroundings {
  scenario& play;
  record& self;
  fibers::task_group* group = nullptr;
  fibers::timeout_scope* timeout = nullptr;
  std::exception_ptr caught = nullptr;
  std::map<std::string, std::unique_lock<fibers::mutex>*> held = {};

  void trace(std::string event) const {
    if (play.over) return;
    auto const now = std::chrono::duration_cast<milliseconds>(fibers::clock::now().time_since_epoch());
    self.events.emplace_back(now.count(), std::move(event));
  }
};

// How a body was left, if not by an error.
using returned = std::optional<std::string>;

returned play(json::array const& body, surroundings const& around);

// A statement that waits: what it throws is traced.
template <class F>
auto waiting(surroundings const& around, std::string const& tag, F f) -> decltype(f()) {
  try {
    return f();
  } catch (...) {
    around.trace(tag + "!" + spell(std::current_exception()).text);
    throw;
  }
}

// --- tasks ---

// The callable of a new task; afterwards its last event is traced.
auto make_body(scenario& play_in, record& self, json::array const& body, fibers::task_group* group) {
  return [&play_in, &self, &body, group] {
    surroundings const around{play_in, self, group};
    around.trace("start");
    self.value = play(body, around).value_or("none");
    return self.value;
  };
}

void register_task(scenario& in, record& self, std::string const& name, fibers::task_handle<std::string> task) {
  auto const number = ++in.created[name];
  self.name = number == 1 ? name : name + "#" + std::to_string(number);
  self.task = std::move(task);
  in.latest[name] = &self;
  self.task.on_done([&in, &self] {
    surroundings const around{in, self};
    try {
      auto const error = self.task.exception();
      around.trace(error != nullptr ? "failed:" + spell(error).text : "done:" + self.value);
    } catch (fibers::cancelled_error const&) {
      around.trace(spell(std::current_exception()).text);
    }
  });
}

record* find(surroundings const& around, json::value const& name) {
  auto const found = around.play.latest.find(std::string(name.as_string()));
  return found != around.play.latest.end() ? found->second : nullptr;
}

struct named_tasks {
  std::vector<std::string> names;
  std::vector<fibers::task_handle<std::string>> tasks;
  std::string const& name_of(fibers::task_handle<> const& task) const {
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (tasks[i].id() == task.id()) return names[i];
    }
    throw unplayable("a task without a name");
  }
};

named_tasks find_all(surroundings const& around, json::value const& names) {
  named_tasks found;
  for (auto const& name : names.as_array()) {
    if (auto* const task = find(around, name)) {
      found.names.emplace_back(name.as_string());
      found.tasks.push_back(task->task);
    }
  }
  return found;
}

// "=V" or "!ERR" of a task that has ended.
std::string outcome(record const& ended) {
  try {
    auto const error = ended.task.exception();
    return error != nullptr ? "!" + spell(error).text : "=" + ended.value;
  } catch (fibers::cancelled_error const&) {
    return "!" + spell(std::current_exception()).text;
  }
}

std::string list(std::vector<std::string> const& texts) {
  std::string joined;
  for (auto const& text : texts) joined += (joined.empty() ? "" : ",") + text;
  return "[" + joined + "]";
}

// --- statements ---

class statement {
 public:
  statement(json::array const& words, surroundings const& around) : words_(words), around_(around) {}

  returned play() {
    using function = returned (statement::*)();
    static std::map<std::string, function> const functions = {
        {"log", &statement::log},
        {"sleep", &statement::sleep},
        {"yield", &statement::yield},
        {"raise", &statement::raise},
        {"reraise", &statement::reraise},
        {"return", &statement::return_value},
        {"try", &statement::try_body},
        {"loop", &statement::loop},
        {"spawn", &statement::spawn},
        {"cancel", &statement::cancel},
        {"cancel_self", &statement::cancel_self},
        {"uncancel", &statement::uncancel},
        {"cancelling", &statement::cancelling},
        {"to_result", &statement::to_result},
        {"await", &statement::await},
        {"shield", &statement::shield},
        {"wait_for_task", &statement::wait_for_task},
        {"gather", &statement::gather},
        {"wait", &statement::wait},
        {"as_completed", &statement::as_completed},
        {"timeout", &statement::timeout},
        {"timeout_at", &statement::timeout_at},
        {"reschedule", &statement::reschedule},
        {"wait_for", &statement::wait_for},
        {"group", &statement::group},
        {"start", &statement::start},
        {"lock", &statement::lock},
        {"sem", &statement::sem},
        {"event_wait", &statement::event_wait},
        {"event_set", &statement::event_set},
        {"event_clear", &statement::event_clear},
        {"cond_wait", &statement::cond_wait},
        {"cond_notify", &statement::cond_notify},
        {"put", &statement::put},
        {"get", &statement::get},
        {"barrier", &statement::barrier},
    };
    auto const found = functions.find(word(0));
    if (found == functions.end()) throw unplayable("unknown statement '" + word(0) + "'");
    return (this->*found->second)();
  }

 private:
  std::string word(std::size_t i) const { return std::string(words_.at(i).as_string()); }
  json::array const& body(std::size_t i) const { return words_.at(i).as_array(); }
  bool has(std::size_t i) const { return i < words_.size() && !words_[i].is_null(); }
  std::int64_t number(std::size_t i) const { return words_.at(i).to_number<std::int64_t>(); }
  fibers::time_limit limit(std::size_t i) const {
    if (!has(i)) return fibers::no_timeout;
    return milliseconds(number(i));
  }
  std::string tag() const { return word(0) + ":" + word(1); }
  void trace(std::string event) const { around_.trace(std::move(event)); }
  template <class F>
  auto waiting(std::string const& as, F f) -> decltype(f()) {
    return ::waiting(around_, as, std::move(f));
  }
  [[noreturn]] void misuse(std::string const& as) {
    trace(as + "!misuse");
    throw scenario_error("misuse");
  }

  // - a task by itself -

  returned log() {
    trace("log:" + text_of(words_.at(1)));
    return {};
  }
  returned sleep() {
    waiting("sleep", [&] { fibers::sleep_for(milliseconds(number(1))); });
    return {};
  }
  returned yield() {
    waiting("yield", [] { fibers::this_task::yield(); });
    return {};
  }
  returned raise() {
    auto const kind = word(1);
    if (kind == "cancelled") throw fibers::cancelled_error();
    if (kind == "timeout") throw fibers::timeout_error();
    throw scenario_error(kind);
  }
  returned reraise() { std::rethrow_exception(around_.caught); }
  returned return_value() { return words_.size() > 1 ? text_of(words_[1]) : "none"; }

  returned try_body() {
    static json::object const no_clauses;
    auto const& clauses = words_.size() > 2 ? words_[2].as_object() : no_clauses;
    returned result;
    std::exception_ptr error;
    try {
      result = ::play(body(1), around_);
    } catch (...) {
      error = std::current_exception();
    }
    if (error != nullptr) {
      auto const spelled = spell(error);
      auto const* handler = clauses.if_contains(spelled.handler);
      if (handler == nullptr) handler = clauses.if_contains("any");
      if (handler != nullptr) {
        trace("caught:" + spelled.text);
        auto inside = around_;
        inside.caught = std::exchange(error, nullptr);
        try {
          result = ::play(handler->as_array(), inside);
        } catch (...) {
          error = std::current_exception();
        }
      }
    }
    if (auto const* const finally = clauses.if_contains("finally")) {
      static_cast<void>(::play(finally->as_array(), around_));
    }
    if (error != nullptr) std::rethrow_exception(error);
    return result;
  }

  returned loop() {
    for (auto left = number(1); left > 0; --left) {
      if (auto result = ::play(body(2), around_)) return result;
    }
    return {};
  }

  returned cancel_self() {
    trace("cancel_self");
    fibers::this_task::cancel(has(1) ? text_of(words_[1]) : "");
    return {};
  }
  returned uncancel() {
    trace("uncancel=" + std::to_string(fibers::this_task::uncancel()));
    return {};
  }
  returned cancelling() {
    trace("cancelling=" + std::to_string(fibers::this_task::cancelling()));
    return {};
  }

  // - other tasks -

  returned spawn() {
    auto& self = around_.play.records.emplace_back();
    register_task(around_.play, self, word(1), fibers::spawn(make_body(around_.play, self, body(2), nullptr)).detach());
    return {};
  }
  returned cancel() {
    auto* const task = find(around_, words_.at(1));
    if (task == nullptr) return unknown();
    bool const accepted = task->task.cancel(has(2) ? text_of(words_[2]) : "");
    trace(tag() + (accepted ? "" : ":late"));
    return {};
  }
  returned unknown() {
    trace(tag() + ":unknown");
    return {};
  }
  returned to_result() {
    auto* const task = find(around_, words_.at(1));
    if (task == nullptr) return unknown();
    trace(tag() + (task->task.done() ? outcome(*task) : ":pending"));
    return {};
  }
  template <class F>
  returned wait_for_one(std::size_t name, F wait) {
    auto const as = word(0) + ":" + word(name);
    auto* const task = find(around_, words_.at(name));
    if (task == nullptr) {
      trace(as + ":unknown");
    } else {
      trace(as + "=" + waiting(as, [&] { return wait(task->task); }));
    }
    return {};
  }
  returned await() {
    return wait_for_one(1, [](auto const& task) { return task.get(); });
  }
  returned shield() {
    return wait_for_one(1, [](auto const& task) { return fibers::shield(task); });
  }
  returned wait_for_task() {
    return wait_for_one(2, [this](auto const& task) { return fibers::wait_for(task, limit(1)); });
  }

  template <class F>
  returned wait_for_many(F wait) {
    auto const found = find_all(around_, words_.at(1));
    if (found.tasks.empty()) {
      trace(word(0) + ":unknown");
    } else {
      waiting(word(0), [&] { wait(found); });
    }
    return {};
  }
  returned gather() {
    return wait_for_many([this](named_tasks const& found) {
      std::vector<std::string> texts;
      if (words_.size() > 2 && words_[2].as_bool()) {
        for (auto const& result : fibers::gather(fibers::return_exceptions, found.tasks)) {
          texts.push_back(result.has_value() ? result.value() : "!" + spell(result.error()).text);
        }
      } else {
        texts = fibers::gather(found.tasks);
      }
      trace("gather=" + list(texts));
    });
  }
  returned wait() {
    static std::map<std::string, fibers::return_when> const modes = {
        {"all", fibers::return_when::all_completed},
        {"first_completed", fibers::return_when::first_completed},
        {"first_exception", fibers::return_when::first_exception},
    };
    return wait_for_many([this](named_tasks const& found) {
      std::optional<fibers::time_limit> time;
      if (has(3)) time = limit(3);
      auto const result = fibers::wait(found.tasks, modes.at(word(2)), time);
      auto const names = [&](auto const& tasks) {
        std::vector<std::string> texts;
        for (auto const& task : tasks) texts.push_back(found.name_of(task));
        return list(texts);
      };
      trace("wait:done=" + names(result.done) + ":pending=" + names(result.pending));
    });
  }
  returned as_completed() {
    return wait_for_many([this](named_tasks const& found) {
      for (auto const& task : fibers::as_completed(found.tasks)) {
        auto const& name = found.name_of(task);
        auto const ended = std::find_if(around_.play.records.begin(), around_.play.records.end(),
                                        [&](record const& r) { return r.task.id() == task.id(); });
        trace("next:" + name + outcome(*ended));
      }
    });
  }

  // - scopes -

  template <class Enter>
  returned in_timeout(Enter enter) {
    returned result;
    bool expired = false;
    auto const inside_timeout = [&](fibers::timeout_scope& scope) {
      struct look {
        fibers::timeout_scope& scope;
        bool& expired;
        ~look() { expired = scope.expired(); }
      } const at_the_end{scope, expired};
      auto inside = around_;
      inside.timeout = &scope;
      result = ::play(body(2), inside);
    };
    std::exception_ptr error;
    try {
      enter(inside_timeout);
    } catch (...) {
      error = std::current_exception();
    }
    trace(word(0) + (error != nullptr ? "!" + spell(error).text : ":ok") + (expired ? ":expired" : ""));
    if (error != nullptr) std::rethrow_exception(error);
    return result;
  }
  returned timeout() {
    return in_timeout([&](auto const& inside) { fibers::with_timeout(limit(1), inside); });
  }
  returned timeout_at() {
    return in_timeout([&](auto const& inside) {
      fibers::time_point const deadline =
          has(1) ? fibers::time_point(milliseconds(number(1))) : fibers::time_point(fibers::no_timeout);
      fibers::with_timeout_at(deadline, inside);
    });
  }
  returned reschedule() {
    if (around_.timeout->expired()) misuse("reschedule");
    around_.timeout->reschedule_after(limit(1));
    return {};
  }
  returned wait_for() {
    auto const value = waiting("wait_for", [&] {
      return fibers::wait_for([&] { return ::play(body(2), around_).value_or("none"); }, limit(1));
    });
    trace("wait_for=" + value);
    return {};
  }

  returned group() {
    returned result;
    std::exception_ptr error;
    try {
      fibers::with_task_group([&](fibers::task_group& children) {
        auto inside = around_;
        inside.group = &children;
        result = ::play(body(1), inside);
      });
    } catch (...) {
      error = std::current_exception();
    }
    trace("group" + (error != nullptr ? "!" + spell(error).text : ":ok"));
    if (error != nullptr) std::rethrow_exception(error);
    return result;
  }
  returned start() {
    auto& self = around_.play.records.emplace_back();
    fibers::task_handle<std::string> task;
    try {
      task = around_.group->spawn(make_body(around_.play, self, body(2), around_.group));
    } catch (fibers::invalid_state_error const&) {
      around_.play.records.pop_back();
    }
    if (!task) misuse("start:" + word(1));
    register_task(around_.play, self, word(1), std::move(task));
    return {};
  }

  // - locks and their like -

  template <class Release>
  returned holding(surroundings const& inside, std::string const& released, Release release) {
    returned result;
    std::exception_ptr error;
    try {
      result = ::play(body(2), inside);
    } catch (...) {
      error = std::current_exception();
    }
    release();
    trace(released);
    if (error != nullptr) std::rethrow_exception(error);
    return result;
  }
  returned lock() {
    std::unique_lock<fibers::mutex> held(around_.play.locks[word(1)], std::defer_lock);
    waiting(tag(), [&] { held.lock(); });
    trace(tag());
    auto inside = around_;
    inside.held[word(1)] = &held;
    return holding(inside, "unlock:" + word(1), [&] { held.unlock(); });
  }
  returned sem() {
    auto& semaphore = around_.play.semaphores[word(1)];
    if (semaphore == nullptr) {
      semaphore = std::make_unique<fibers::semaphore>(around_.play.size("sems", word(1), 1));
    }
    waiting(tag(), [&] { semaphore->acquire(); });
    trace(tag());
    return holding(around_, "unsem:" + word(1), [&] { semaphore->release(); });
  }
  template <class F>
  returned wait_here(F wait) {
    waiting(tag(), wait);
    trace(tag());
    return {};
  }
  returned event_wait() {
    return wait_here([&] { around_.play.events[word(1)].wait(); });
  }
  returned event_set() {
    around_.play.events[word(1)].set();
    trace(tag());
    return {};
  }
  returned event_clear() {
    around_.play.events[word(1)].clear();
    trace(tag());
    return {};
  }
  returned cond_wait() {
    return wait_here([&] { around_.play.conditions[word(1)].wait(*around_.held.at(word(1))); });
  }
  returned cond_notify() {
    around_.play.conditions[word(1)].notify(static_cast<std::size_t>(number(2)));
    trace(tag());
    return {};
  }
  fibers::queue<std::string>& queue() {
    auto& made = around_.play.queues[word(1)];
    if (made == nullptr) {
      auto const capacity = static_cast<std::size_t>(around_.play.size("queues", word(1), 0));
      made = std::make_unique<fibers::queue<std::string>>(capacity == 0 ? fibers::unbounded : capacity);
    }
    return *made;
  }
  returned put() {
    return wait_here([&] { queue().put(text_of(words_.at(2))); });
  }
  returned get() {
    trace(tag() + "=" + waiting(tag(), [&] { return queue().get(); }));
    return {};
  }
  returned barrier() {
    auto& made = around_.play.barriers[word(1)];
    if (made == nullptr) made = std::make_unique<fibers::barrier>(around_.play.size("barriers", word(1), 2));
    return wait_here([&] { made->arrive_and_wait(); });
  }

  json::array const& words_;
  surroundings const& around_;
};

returned play(json::array const& body, surroundings const& around) {
  for (auto const& words : body) {
    if (auto result = statement(words.as_array(), around).play()) return result;
  }
  return {};
}

// --- a whole scenario ---

// In a task of its own, which is the only one that is told of a deadlock.
void conduct(scenario& in) {
  auto& main = in.records.emplace_back();
  register_task(in, main, "main", fibers::spawn(make_body(in, main, in.text.at("main").as_array(), nullptr)).detach());
  try {
    main.task.wait();
    for (;;) {
      // What was spawned at this instant begins first.
      for (int i = 0; i < 3; ++i) fibers::this_task::yield();
      std::vector<fibers::task_handle<std::string>> left;
      for (auto const& each : in.records) {
        if (!each.task.done()) left.push_back(each.task);
      }
      if (left.empty()) break;
      for (auto const& task : left) task.cancel();
      for (auto const& task : left) task.wait();
    }
  } catch (fibers::deadlock_error const&) {
    in.deadlock = true;
    for (auto& each : in.records) {
      if (!each.task.done()) surroundings{in, each}.trace("deadlock");
    }
    in.over = true;
  }
}

json::object trace_of(scenario const& played) {
  json::object tasks;
  std::int64_t end = 0;
  for (auto const& each : played.records) {
    if (each.events.empty()) continue;  // spawned after the end
    json::array events;
    for (auto const& [time, event] : each.events) {
      events.push_back(json::array{time, event});
      end = std::max(end, time);
    }
    tasks[each.name] = std::move(events);
  }
  json::object trace{{"name", played.text.at("name")}, {"end_ms", end}, {"tasks", std::move(tasks)}};
  if (played.deadlock) trace["deadlock"] = true;
  return trace;
}

json::object play_scenario(json::value const& value) {
  json::value name;
  try {
    auto const& text = value.as_object();
    name = text.at("name");
    // Not destroyed after a deadlock that tasks did not survive: their stacks still refer to it.
    auto played = std::make_unique<scenario>(scenario{text});
    fibers::run_options const options{.clock = fibers::clock_kind::virtual_time,
                                      .on_unhandled = [](std::string const&, std::exception_ptr const&) {}};
    try {
      fibers::run(options, [&] { conduct(*played); });
    } catch (fibers::deadlock_error const&) {
      return trace_of(*played.release());
    }
    return trace_of(*played);
  } catch (std::exception const& error) {
    return {{"name", name}, {"error", error.what()}};
  }
}

void play_text(std::string const& text) {
  try {
    auto const value = json::parse(text);
    if (value.is_array()) {
      for (auto const& each : value.as_array()) std::cout << json::serialize(play_scenario(each)) << '\n';
    } else {
      std::cout << json::serialize(play_scenario(value)) << '\n';
    }
  } catch (boost::system::system_error const& error) {
    std::cout << json::serialize(json::object{{"name", nullptr}, {"error", error.what()}}) << '\n';
  }
}

// The whole text, if it is one JSON value; else each of its lines.
void play_file(std::istream& file) {
  std::string const text{std::istreambuf_iterator<char>(file), {}};
  boost::system::error_code failed;
  static_cast<void>(json::parse(text, failed));
  if (!failed) return play_text(text);
  for (std::size_t begin = 0; begin < text.size();) {
    auto const end = std::min(text.find('\n', begin), text.size());
    auto const line = text.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r") != std::string::npos) play_text(line);
    begin = end + 1;
  }
}

}  // namespace

int main(int argc, char* argv[]) {
  std::ios::sync_with_stdio(false);
  if (argc < 2) {
    std::cerr << "player FILE… or player -\n";
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    std::string const name = argv[i];
    if (name == "-") {
      for (std::string line; std::getline(std::cin, line);) {
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        play_text(line);
        std::cout.flush();
      }
      continue;
    }
    std::ifstream file(name);
    if (!file) {
      std::cerr << "cannot read " << name << '\n';
      return 1;
    }
    play_file(file);
  }
}
