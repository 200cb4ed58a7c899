#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <thread>

namespace storehouse {

struct RetryOptions {
  int attempts = 5;
  std::chrono::milliseconds base_delay{100};
  std::chrono::milliseconds max_delay{5000};
};

/// How long to wait before the next attempt: doubled each time, with jitter, up to a limit.
inline std::chrono::milliseconds backoff_delay(int attempt, const RetryOptions& options) {
  static thread_local std::mt19937 random{std::random_device{}()};
  const auto doubled = options.base_delay * (1 << (attempt - 1));
  std::uniform_int_distribution<long> jitter(0, options.base_delay.count() / 2);
  return std::min(doubled + std::chrono::milliseconds(jitter(random)), options.max_delay);
}

/// Calls `operation` until it gives a value, at most `attempts` times, with exponential backoff.
template <typename Operation>
auto retry_with_backoff(Operation operation, const RetryOptions& options = {}) -> decltype(operation()) {
  for (int attempt = 1; attempt <= options.attempts; ++attempt) {
    if (auto result = operation()) {
      return result;
    }
    if (attempt < options.attempts) {
      std::this_thread::sleep_for(backoff_delay(attempt, options));
    }
  }
  return std::nullopt;
}

}  // namespace storehouse
