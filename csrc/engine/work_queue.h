#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "csrc/engine/kv_cache.h"

namespace r1::engine {

/// A completion whose first token is drawn and which is not finished.
struct Pending {
  std::shared_ptr<KvCache> prompt;  // freed with the last completion that reads it
  std::int64_t row;                 // of the results
};

/// Hands prompts to be prefilled and completions to be continued to the threads. Completions come
/// first, so that no more prompts are held than the slots need.
class WorkQueue {
 public:
  explicit WorkQueue(std::int64_t prompts) : prompts_(prompts) {}

  std::optional<Pending> pop_completion() {
    const std::lock_guard lock(mutex_);
    if (pending_.empty()) return std::nullopt;
    Pending next = std::move(pending_.front());
    pending_.pop_front();
    return next;
  }

  /// The index of a prompt to prefill; the caller owes a `push`.
  std::optional<std::int64_t> pop_prompt() {
    const std::lock_guard lock(mutex_);
    if (next_prompt_ == prompts_) return std::nullopt;
    ++prefilling_;
    return next_prompt_++;
  }

  /// Adds what a prefilled prompt left to be continued.
  void push(std::vector<Pending> completions) {
    const std::lock_guard lock(mutex_);
    for (Pending& completion : completions) pending_.push_back(std::move(completion));
    --prefilling_;
    changed_.notify_all();
  }

  /// Waits until there is something to take. @return false if there never will be
  bool wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return cancelled_ || !pending_.empty() || next_prompt_ < prompts_ || prefilling_ == 0;
    });
    return !cancelled_ && (!pending_.empty() || next_prompt_ < prompts_);
  }

  void cancel() {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Pending> pending_;
  std::int64_t prompts_, next_prompt_ = 0, prefilling_ = 0;
  bool cancelled_ = false;
};

}  // namespace r1::engine
