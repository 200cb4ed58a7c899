#include <cmath>
#include <cstddef>

namespace storehouse {

/// Watches a scale for weights that stray too far from what it usually shows.
class ScaleMonitor {
 public:
  explicit ScaleMonitor(double tolerance) : tolerance_(tolerance) {}

  /// Notes a weight; true when it is an outlier.
  bool observe(double weight) {
    const bool outlier = count_ > 10 && std::abs(weight - mean_) > tolerance_ * deviation();
    ++count_;
    const double delta = weight - mean_;
    mean_ += delta / static_cast<double>(count_);
    squares_ += delta * (weight - mean_);
    return outlier;
  }

 private:
  double deviation() const { return count_ < 2 ? 0.0 : std::sqrt(squares_ / static_cast<double>(count_ - 1)); }

  double tolerance_;
  std::size_t count_ = 0;
  double mean_ = 0.0;
  double squares_ = 0.0;
};

}  // namespace storehouse
