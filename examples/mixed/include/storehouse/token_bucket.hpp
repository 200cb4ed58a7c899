#pragma once

#include <chrono>
#include <string>
#include <unordered_map>

namespace storehouse {

/// Limits how often each machine may send: requests spend tokens, time refills the bucket.
class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;

  TokenBucket(double capacity, double refill_per_second);

  /// Takes a token for the client; false when its bucket is empty.
  bool allow(const std::string& client, Clock::time_point now = Clock::now());

 private:
  struct Bucket {
    double tokens;
    Clock::time_point last;
  };

  void refill(Bucket& bucket, Clock::time_point now) const;

  double capacity_;
  double refill_per_second_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace storehouse
