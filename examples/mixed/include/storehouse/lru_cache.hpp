#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

namespace storehouse {

/// Keeps the entries that were used last; evicts the least recently used one.
template <typename Key, typename Value>
class LruCache {
 public:
  explicit LruCache(std::size_t capacity) : capacity_(capacity) {}

  std::optional<Value> get(const Key& key) {
    auto found = index_.find(key);
    if (found == index_.end()) {
      return std::nullopt;
    }
    touch(found->second);
    return found->second->second;
  }

  void put(const Key& key, Value value) {
    if (auto found = index_.find(key); found != index_.end()) {
      found->second->second = std::move(value);
      touch(found->second);
      return;
    }
    entries_.emplace_front(key, std::move(value));
    index_[key] = entries_.begin();
    evict_least_recently_used();
  }

 private:
  using Entries = std::list<std::pair<Key, Value>>;

  // The entry moves to the front of the list.
  void touch(typename Entries::iterator entry) { entries_.splice(entries_.begin(), entries_, entry); }

  void evict_least_recently_used() {
    if (entries_.size() > capacity_) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
  }

  std::size_t capacity_;
  Entries entries_;
  std::unordered_map<Key, typename Entries::iterator> index_;
};

}  // namespace storehouse
