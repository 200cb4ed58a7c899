#include "storehouse/job_queue.hpp"

#include <utility>

namespace storehouse {

JobQueue::JobQueue(std::size_t concurrency) {
  for (std::size_t i = 0; i < concurrency; ++i) {
    workers_.emplace_back([this] { work(); });
  }
}

JobQueue::~JobQueue() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
}

void JobQueue::enqueue(Job job, int priority) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push(Entry{priority, serial_++, std::move(job)});
  }
  ready_.notify_one();
}

std::size_t JobQueue::size() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

void JobQueue::work() {
  while (true) {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) {
      return;
    }
    Entry entry = waiting_.top();
    waiting_.pop();
    lock.unlock();
    try {
      entry.job();
    } catch (...) {
      enqueue(std::move(entry.job), entry.priority - 1);
    }
  }
}

}  // namespace storehouse
