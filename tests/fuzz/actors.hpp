// SPDX-License-Identifier: BSL-1.0
#pragma once

// A model of the tasks of a program that does not ask the library: which tasks have a reason to be cancelled, how each
// body was left, and which task waits for which. If the model cannot know a reason exactly, it assumes that there is
// one, so laws built on it give no false alarms.

#include <algorithm>
#include <deque>
#include <exception>
#include <fibers/task.hpp>
#include <fibers/task_group.hpp>
#include <fibers/timeout.hpp>
#include <vector>

namespace fuzz {

struct actor;

/// A task group, or the callables of a gather() or race().
struct family {
  actor& owner;
  fibers::task_group* group = nullptr;  // if it is a group whose body runs
  std::vector<actor*> children = {};
  int failed = 0;     // number of failed children
  bool down = false;  // its children and its body have a reason to be cancelled
};

enum class left { not_begun, running, returned, failed, cancelled };

struct actor {
  // --- actions on it ---

  int number = 0;
  actor* spawner = nullptr;  // does not end before this task; null: this task was detached
  fibers::task_handle<> handle = {};
  family* parent = nullptr;  // null: it is in none, or the family has ended
  bool part = false;         // of a gather() or race(), which fetches its outcome
  int asked_directly = 0;
  bool asked_otherwise = false;      // by its owner, its group, or a task that waited for it
  std::vector<actor*> getters = {};  // tasks in get() for it
  int waiters = 0;                   // tasks in any wait for its end
  int callbacks = 0, called = 0;     // on_done

  // --- its own actions ---

  left how = left::not_begun;
  std::exception_ptr error = nullptr;  // if failed
  bool sleeps = false;
  int taken_back = 0;  // by uncancel(), if the count is known
  bool took_back = false;

  /// The scopes that it has opened; a shield begins a new frame.
  struct frame {
    std::vector<fibers::timeout_scope*> scopes = {};
    std::vector<family*> families = {};
    bool has_reason() const {
      return std::any_of(scopes.begin(), scopes.end(), [](auto* s) { return s->expired(); }) ||
             std::any_of(families.begin(), families.end(), [](auto* f) { return f->down; });
    }
  };
  std::deque<frame> frames = std::deque<frame>(1);

  bool shielded() const { return frames.size() > 1; }

  /// Returns whether another party has requested its end, in a way that is still in force.
  bool asked() { return asked_directly > taken_back || others_asked(); }

  /// Marks that its count of requests is not known exactly.
  bool others_asked() {
    if (asked_otherwise) return true;
    if (looked_at_) return false;  // in a cycle
    looked_at_ = true;
    asked_otherwise = (parent != nullptr && (parent->down || has_any_reason(parent->owner))) ||
                      std::any_of(getters.begin(), getters.end(), [](auto* g) { return has_any_reason(*g); });
    looked_at_ = false;
    return asked_otherwise;
  }

  /// Returns whether `other` waits for the end of this task, directly or through others, in a way that requests do not
  /// end. Then this task must not wait for `other` and forward requests to it: neither could ever end.
  bool holds_up(actor const& other) {
    struct step {
      actor* who;
      bool cannot_be_cut;  // one of the waits on this path
      bool operator==(step const&) const = default;
    };
    std::vector<step> ways{{this, shielded()}};
    auto const add = [&](step next) {
      if (std::find(ways.begin(), ways.end(), next) == ways.end()) ways.push_back(next);
    };
    for (std::size_t i = 0; i < ways.size(); ++i) {
      auto const here = ways[i];
      if (here.who == &other && here.cannot_be_cut) return true;
      if (here.who->spawner != nullptr) add({here.who->spawner, true});
      for (auto* getter : here.who->getters) add({getter, here.cannot_be_cut || getter->shielded()});
    }
    return false;
  }

  /// Returns whether a wait of its own may throw cancelled_error now. In a shield, only requests of scopes inside it
  /// count.
  bool may_be_cancelled() { return frames.back().has_reason() || (!shielded() && asked()); }

 private:
  static bool has_any_reason(actor& a) {
    return std::any_of(a.frames.begin(), a.frames.end(), [](auto& f) { return f.has_reason(); }) || a.asked();
  }

  bool looked_at_ = false;
};

// --- for the length of a block ---

/// Holds a place in a list.
template <class T>
class listed {
 public:
  listed(std::vector<T*>& list, T& what) : list_(list) { list_.push_back(&what); }
  listed(listed const&) = delete;
  listed& operator=(listed const&) = delete;
  ~listed() { list_.pop_back(); }

 private:
  std::vector<T*>& list_;
};

/// Marks a get() for the task.
class getting {
 public:
  getting(actor& self, actor& target) : self_(self), target_(target) { target_.getters.push_back(&self_); }
  getting(getting const&) = delete;
  getting& operator=(getting const&) = delete;
  ~getting() {
    target_.others_asked();  // records the reason while it exists
    target_.getters.erase(std::find(target_.getters.begin(), target_.getters.end(), &self_));
  }

 private:
  actor& self_;
  actor& target_;
};

/// Marks a shield.
class shielded {
 public:
  explicit shielded(actor& self) : self_(self) { self_.frames.emplace_back(); }
  shielded(shielded const&) = delete;
  shielded& operator=(shielded const&) = delete;
  ~shielded() { self_.frames.pop_back(); }

 private:
  actor& self_;
};

}  // namespace fuzz
