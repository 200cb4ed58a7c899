#include "storehouse/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace storehouse {

// Welford's method: nothing is lost to cancellation.
void RunningStatistics::add(double number) {
  ++count_;
  const double delta = number - mean_;
  mean_ += delta / static_cast<double>(count_);
  sum_of_squares_ += delta * (number - mean_);
}

double RunningStatistics::variance() const {
  return count_ < 2 ? 0.0 : sum_of_squares_ / static_cast<double>(count_ - 1);
}

double RunningStatistics::standard_deviation() const { return std::sqrt(variance()); }

double percentile(std::vector<double> numbers, double p) {
  std::sort(numbers.begin(), numbers.end());
  const double position = p * static_cast<double>(numbers.size() - 1);
  const auto lower = static_cast<std::size_t>(position);
  const auto upper = std::min(lower + 1, numbers.size() - 1);
  return numbers[lower] + (numbers[upper] - numbers[lower]) * (position - static_cast<double>(lower));
}

}  // namespace storehouse
