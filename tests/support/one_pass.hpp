// SPDX-License-Identifier: BSL-1.0
#pragma once

// A single-pass range of elements that are created during iteration: make(0), make(1) and so on. (clang 14 does not
// accept the views of <ranges>.)

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

namespace fibers::testing {

template <class Make>
class one_pass {
 public:
  one_pass(int size, Make make) : size_(size), make_(std::move(make)) {}

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = std::remove_cvref_t<std::invoke_result_t<Make&, int>>;

    explicit iterator(one_pass& range) : range_(&range) {}
    decltype(auto) operator*() const { return range_->make_(range_->next_); }
    iterator& operator++() {
      ++range_->next_;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return range_->next_ == range_->size_; }

   private:
    bool over() const { return range_->next_ == range_->size_; }

    one_pass* range_;
  };

  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  int const size_;
  int next_ = 0;
  Make make_;
};

}  // namespace fibers::testing
