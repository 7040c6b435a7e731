#include "csrc/engine/workers.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace r1::engine {
namespace {

/// Counts the running threads and keeps the first failure.
class Join {
 public:
  Join(int threads, std::atomic<bool>& stop) : running_(threads), stop_(stop) {}

  void run(const std::function<void()>& work) {
    try {
      work();
    } catch (...) {
      fail(std::current_exception());
    }
    const std::lock_guard lock(mutex_);
    if (--running_ == 0) finished_.notify_one();
  }
  void fail(std::exception_ptr error) {
    stop_ = true;
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return finished_.wait_for(lock, std::chrono::milliseconds(100), [&] { return running_ == 0; });
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable finished_;
  int running_;
  std::exception_ptr error_;
  std::atomic<bool>& stop_;
};

}  // namespace

void run_workers(int threads, std::atomic<bool>& stop, const std::function<void()>& work,
                 const std::function<void()>& poll) {
  Join join(threads, stop);
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < threads; ++i) workers.emplace_back([&] { join.run(work); });
    try {
      while (!join.wait())
        if (!stop) poll();
    } catch (...) {
      join.fail(std::current_exception());
    }
  }
  join.rethrow();
  poll();
}

}  // namespace r1::engine
