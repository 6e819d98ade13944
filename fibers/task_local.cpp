// SPDX-License-Identifier: BSL-1.0

#include <algorithm>
#include <atomic>
#include <fibers/detail/engine/suspend.hpp>
#include <fibers/detail/parts/memory.hpp>
#include <fibers/task_local.hpp>
#include <vector>

namespace fibers::detail {

// Copy-on-write values of one or several tasks, sorted by variable.
class local_values : public from_memory {
 public:
  using entry = std::pair<local_key, std::shared_ptr<void>>;

  local_values() = default;
  local_values(local_values const& other) : entries(other.entries) {}
  local_values& operator=(local_values const&) = delete;

  auto place_of(local_key variable) noexcept {
    return std::lower_bound(entries.begin(), entries.end(), variable,
                            [](entry const& e, local_key key) { return e.first < key; });
  }
  entry* find(local_key variable) noexcept {
    auto const found = place_of(variable);
    return found != entries.end() && found->first == variable ? &*found : nullptr;
  }

  std::vector<entry, allocator<entry>> entries;
  reference_count owners;
  bool shared() const noexcept { return owners.count() > 1; }
};

void intrusive_ptr_add_ref(local_values* values) noexcept { values->owners.add(); }
void intrusive_ptr_release(local_values* values) noexcept {
  if (values->owners.remove()) delete values;
}

local_key new_local_key() noexcept {
  static constinit std::atomic<local_key> last = 0;
  return ++last;
}

std::shared_ptr<void> share_local(local_key variable, boost::source_location const& place) {
  auto const& values = this_task_state(place).locals();
  auto const* const found = values != nullptr ? values->find(variable) : nullptr;
  return found != nullptr ? found->second : nullptr;
}

void* find_local(local_key variable, boost::source_location const& place) {
  auto const& values = this_task_state(place).locals();
  auto const* const found = values != nullptr ? values->find(variable) : nullptr;
  return found != nullptr ? found->second.get() : nullptr;
}

void set_local(local_key variable, std::shared_ptr<void> value, boost::source_location const& place) {
  auto& values = this_task_state(place).locals();
  if (values == nullptr) {
    values = new local_values;
  } else if (values->shared()) {
    values = new local_values(*values);
  }
  if (auto* const found = values->find(variable)) {
    found->second.swap(value);  // the old value is destroyed last, since its destructor may call this function
  } else {
    values->entries.emplace(values->place_of(variable), variable, std::move(value));
  }
}

}  // namespace fibers::detail
