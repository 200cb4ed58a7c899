#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace storehouse {

/// Remembers the newest items up to a capacity; the oldest one is overwritten.
template <typename Item, std::size_t Capacity>
class RingBuffer {
 public:
  void push(Item item) {
    items_[(start_ + size_) % Capacity] = std::move(item);
    if (size_ == Capacity) {
      start_ = (start_ + 1) % Capacity;
    } else {
      ++size_;
    }
  }

  std::optional<Item> pop() {
    if (size_ == 0) {
      return std::nullopt;
    }
    Item item = std::move(items_[start_]);
    start_ = (start_ + 1) % Capacity;
    --size_;
    return item;
  }

  std::vector<Item> to_vector() const {
    std::vector<Item> all;
    for (std::size_t i = 0; i < size_; ++i) {
      all.push_back(items_[(start_ + i) % Capacity]);
    }
    return all;
  }

 private:
  std::array<Item, Capacity> items_{};
  std::size_t start_ = 0;
  std::size_t size_ = 0;
};

}  // namespace storehouse
