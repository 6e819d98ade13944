// SPDX-License-Identifier: BSL-1.0
#pragma once

// The handler of an operation, which stores the results, and the code that returns them to the task.

#include <cxxabi.h>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/channel_error.hpp>
#include <boost/asio/multiple_exceptions.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <cstddef>
#include <exception>
#include <fibers/asio/detail/asio_wait.hpp>
#include <fibers/error.hpp>
#include <new>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace fibers::detail {

template <class T>
struct asio_allocator {
  using value_type = T;

  explicit asio_allocator(asio_operation_base& o) noexcept : operation(&o) {}
  template <class U>
  asio_allocator(asio_allocator<U> const& other) noexcept : operation(other.operation) {}

  T* allocate(std::size_t count) {
    if constexpr (alignof(T) > alignof(std::max_align_t)) return allocator<T>().allocate(count);
    if (count > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(operation->allocate(count * sizeof(T)));
  }
  void deallocate(T* block, std::size_t count) noexcept {
    if constexpr (alignof(T) > alignof(std::max_align_t)) return allocator<T>().deallocate(block, count);
    operation->deallocate(block);
  }
  friend bool operator==(asio_allocator const& a, asio_allocator const& b) noexcept {
    return a.operation == b.operation;
  }

  asio_operation_base* operation;
};

template <class... Values>
class asio_operation;

/// The handler that Asio calls at the end of the operation. If it is destroyed instead, the task is woken with an
/// error.
template <class... Values>
class asio_handler {
 public:
  explicit asio_handler(asio_operation<Values...>& operation) noexcept : share_(&operation) {}

  template <class... Given>
  requires std::is_constructible_v<std::tuple<Values...>, Given &&...> void operator()(Given&&... values) {
    static_cast<asio_operation<Values...>&>(*share_).keep(std::forward<Given>(values)...);
    share_.reset();
  }

  using allocator_type = asio_allocator<void>;
  using cancellation_slot_type = boost::asio::cancellation_slot;
  using immediate_executor_type = boost::asio::system_executor;  // calls the handler at once, where Asio uses it

  allocator_type get_allocator() const noexcept { return allocator_type(*share_); }
  cancellation_slot_type get_cancellation_slot() const noexcept { return share_->slot(); }
  immediate_executor_type get_immediate_executor() const noexcept { return {}; }

 private:
  asio_operation_base::share share_;
};

/// The result type of a call, for an operation with these results after the leading error.
template <class... Values>
struct asio_value {
  using type = std::tuple<Values...>;
};
template <>
struct asio_value<> {
  using type = void;
};
template <class Value>
struct asio_value<Value> {
  using type = Value;
};
template <class... More>
struct asio_result : asio_value<More...> {};
template <class... More>
struct asio_result<boost::system::error_code, More...> : asio_value<More...> {};
template <class... More>
struct asio_result<std::exception_ptr, More...> : asio_value<More...> {};

/// Returns whether an error means that the operation was aborted.
inline bool is_abort(boost::system::error_code const& error) noexcept {
  return error == boost::asio::error::operation_aborted || error == boost::asio::experimental::error::channel_cancelled;
}
inline bool is_abort(std::exception_ptr const& error) {
  if (error == nullptr) return false;
  try {
    std::rethrow_exception(error);
  } catch (boost::system::system_error const& failure) {
    return is_abort(failure.code());
  } catch (boost::asio::multiple_exceptions const& several) {
    return is_abort(several.first_exception());
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return false;
  }
}

/// As is_abort(), for the arguments of the handler: the error is the first; adapters may have nested them in a tuple.
template <class T>
bool begins_with_abort(T const&) {
  return false;
}
template <class First, class... More>
bool begins_with_abort(std::tuple<First, More...> const& values) {
  if constexpr (std::is_same_v<First, boost::system::error_code> || std::is_same_v<First, std::exception_ptr>) {
    return is_abort(std::get<0>(values));
  } else {
    return begins_with_abort(std::get<0>(values));
  }
}

/// The executor of the operation, if it names one. Adapters such as as_tuple wrap its initiation.
template <class Initiation>
concept names_executor = requires(Initiation const& initiation) {
  initiation.get_executor();
};
template <class Initiation>
concept adapts_initiation = requires(Initiation const& initiation) {
  initiation.initiation_;
};
template <class Initiation>
auto executor_of([[maybe_unused]] Initiation const& initiation) {
  if constexpr (names_executor<Initiation>) {
    return initiation.get_executor();
  } else if constexpr (adapts_initiation<Initiation>) {
    return executor_of(initiation.initiation_);
  } else {
    return nullptr;
  }
}

template <class... Values>
class asio_operation final : public asio_operation_base {
 public:
  using value_type = typename asio_result<Values...>::type;

  /// Starts the operation, and returns when it has ended. Not inlined: g++ 12 would warn of Asio's initiations, which
  /// are empty objects.
  template <class Initiation, class... Parameters>
  [[gnu::noinline]] void perform(Initiation&& initiation, Parameters&&... parameters) {
    auto const executor = executor_of(initiation);  // lives until the operation has ended
    if constexpr (!std::is_null_pointer_v<std::remove_cv_t<decltype(executor)>>) runs_on(executor);
    try {
      std::forward<Initiation>(initiation)(asio_handler<Values...>(*this), std::forward<Parameters>(parameters)...);
    } catch (...) {
      end_failed();
      throw;
    }
    sleep();
  }

  /// Called by the handler.
  template <class... Given>
  void keep(Given&&... values) {
    result_.emplace(std::forward<Given>(values)...);
    completed();
  }

  /// Returns the result, or throws the error, unless the error is assigned to `error`.
  value_type get(boost::system::error_code* error) {
    if (!result_.has_value()) {
      throw_request(0);
      throw invalid_state_error(
          "fibers: an operation of Asio was dropped before it was completed: keep its io_context until it is");
    }
    if (begins_with_abort(*result_)) throw_request(transferred());
    if (error != nullptr) *error = {};
    if constexpr (std::is_same_v<first, boost::system::error_code>) {
      auto const& code = std::get<0>(*result_);
      if (error != nullptr) {
        *error = code;
      } else if (code) {
        throw boost::system::system_error(code);
      }
      return values<1>(std::make_index_sequence<sizeof...(Values) - 1>());
    } else if constexpr (std::is_same_v<first, std::exception_ptr>) {
      if (auto const& failure = std::get<0>(*result_)) std::rethrow_exception(failure);
      return values<1>(std::make_index_sequence<sizeof...(Values) - 1>());
    } else {
      return values<0>(std::make_index_sequence<sizeof...(Values)>());
    }
  }

 private:
  using first = std::tuple_element_t<0, std::tuple<Values..., void*>>;

  std::size_t transferred() const noexcept {
    using outcome = std::tuple<boost::system::error_code, std::size_t>;
    if constexpr (std::is_same_v<std::tuple<Values...>, outcome>) {
      return std::get<1>(*result_);
    } else if constexpr (std::is_same_v<first, outcome>) {
      return std::get<1>(std::get<0>(*result_));
    } else {
      return 0;
    }
  }

  template <std::size_t Skipped, std::size_t... I>
  value_type values(std::index_sequence<I...>) {
    if constexpr (sizeof...(I) == 1) {
      return std::get<Skipped>(std::move(*result_));
    } else if constexpr (sizeof...(I) > 1) {
      return value_type(std::get<Skipped + I>(std::move(*result_))...);
    }
  }

  std::optional<std::tuple<Values...>> result_;
};

}  // namespace fibers::detail
