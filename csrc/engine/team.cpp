#include "csrc/engine/team.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace r1::engine {
namespace {

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Tens of microseconds, longer than threads differ in a layer of a small model. With more threads
/// than cores a spinning one would only keep the others from working.
int spins_of(int size) {
  return size > static_cast<int>(std::thread::hardware_concurrency()) ? 0 : 1000;
}

}  // namespace

void Barrier::meet() noexcept {
  const unsigned meeting = meetings_.load(std::memory_order_relaxed);
  if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    missing_.store(size_, std::memory_order_relaxed);
    meetings_.store(meeting + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; meetings_.load(std::memory_order_acquire) == meeting; ++spin)
    spin < spins_ ? pause() : std::this_thread::yield();
}

Team::Team(int size)
    : size_(size), spins_(spins_of(size)), barriers_(static_cast<std::size_t>(size)) {
  all_.reset(size, spins_);
  split(1);
}

void Team::split(int crews) {
  crews_ = crews;
  for (int index = 0; index < crews; ++index)
    barriers_[static_cast<std::size_t>(index)].reset(first_rank(index + 1) - first_rank(index),
                                                     spins_);
}

Crew Team::crew(int rank) {
  const int index = rank * crews_ / size_, first = first_rank(index);
  return {&barriers_[static_cast<std::size_t>(index)], index, rank - first,
          first_rank(index + 1) - first};
}

void Team::fail(std::exception_ptr error) {
  stop_ = true;
  if (!failed_.exchange(true)) error_ = error;
}

void Team::run(const std::function<void(int)>& body, const std::function<void()>& poll) {
  enum : int { kWait, kGo, kLeave };
  std::atomic<int> signal = kWait;  // a team that cannot be complete must not start to meet
  std::mutex mutex;
  std::condition_variable changed;
  int running = size_;
  const auto member = [&](int rank) noexcept {
    signal.wait(kWait);
    if (signal == kGo) body(rank);
    const std::lock_guard lock(mutex);
    if (--running == 0) changed.notify_one();
  };
  {
    std::vector<std::jthread> threads;
    try {
      for (int rank = 0; rank < size_; ++rank) threads.emplace_back(member, rank);
    } catch (...) {
      signal = kLeave;
      signal.notify_all();
      throw;
    }
    signal = kGo;
    signal.notify_all();
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, std::chrono::milliseconds(100), [&] { return running == 0; })) {
      if (stop_) continue;
      lock.unlock();
      try {
        poll();
      } catch (...) {
        fail(std::current_exception());
      }
      lock.lock();
    }
  }
  if (failed_) std::rethrow_exception(error_);
  poll();
}

}  // namespace r1::engine
