#include "storehouse/token_bucket.hpp"

#include <algorithm>

namespace storehouse {

TokenBucket::TokenBucket(double capacity, double refill_per_second)
    : capacity_(capacity), refill_per_second_(refill_per_second) {}

bool TokenBucket::allow(const std::string& client, Clock::time_point now) {
  auto [entry, inserted] = buckets_.try_emplace(client, Bucket{capacity_, now});
  Bucket& bucket = entry->second;
  refill(bucket, now);
  if (bucket.tokens < 1.0) {
    return false;
  }
  bucket.tokens -= 1.0;
  return true;
}

// Tokens come back with the time that has passed, never above the capacity.
void TokenBucket::refill(Bucket& bucket, Clock::time_point now) const {
  const std::chrono::duration<double> elapsed = now - bucket.last;
  bucket.tokens = std::min(capacity_, bucket.tokens + std::max(elapsed.count(), 0.0) * refill_per_second_);
  bucket.last = now;
}

}  // namespace storehouse
