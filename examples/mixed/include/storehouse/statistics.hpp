#pragma once

#include <cstddef>
#include <vector>

namespace storehouse {

/// Summaries of numbers that come one by one.
class RunningStatistics {
 public:
  void add(double number);
  double mean() const { return mean_; }
  double variance() const;
  double standard_deviation() const;

 private:
  std::size_t count_ = 0;
  double mean_ = 0.0;
  double sum_of_squares_ = 0.0;
};

/// The value below which the share `p` of the numbers lies, interpolated.
double percentile(std::vector<double> numbers, double p);

}  // namespace storehouse
