#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

namespace storehouse {

/// Runs jobs by priority on a few threads; a job that throws gets another chance at a lower priority.
class JobQueue {
 public:
  using Job = std::function<void()>;

  explicit JobQueue(std::size_t concurrency);
  ~JobQueue();

  void enqueue(Job job, int priority = 0);
  std::size_t size() const;

 private:
  struct Entry {
    int priority;
    std::uint64_t serial;
    Job job;

    bool operator<(const Entry& other) const {
      return priority != other.priority ? priority < other.priority : serial > other.serial;
    }
  };

  void work();

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::priority_queue<Entry> waiting_;
  std::vector<std::jthread> workers_;
  std::uint64_t serial_ = 0;
  bool stopping_ = false;
};

}  // namespace storehouse
