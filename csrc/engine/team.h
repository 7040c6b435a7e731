#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>

namespace r1::engine {

/// A contiguous part of some work.
struct Range {
  std::int64_t begin, end;

  std::int64_t count() const { return end - begin; }
};

/// Where threads wait for each other: for some microseconds spinning, then yielding.
class Barrier {
 public:
  /// Only while nobody waits.
  void reset(int size, int spins) {
    size_ = size;
    spins_ = spins;
    missing_ = size;
  }
  /// Returns once `size` threads have called it.
  void meet() noexcept;

 private:
  int size_ = 1, spins_ = 0;
  std::atomic<int> missing_ = 1;        // threads that the current meeting waits for
  std::atomic<unsigned> meetings_ = 0;  // held so far
};

/// One thread's place among those that work on the same rows: each does its share of every layer.
struct Crew {
  Barrier* barrier;
  int index;  // of the crew
  int rank, size;

  void meet() const noexcept {
    if (size > 1) barrier->meet();
  }
  /// This thread's part of `count` items, in whole multiples of `grain` but for the last.
  Range share(std::int64_t count, std::int64_t grain = 1) const {
    const std::int64_t units = (count + grain - 1) / grain;
    return {std::min(count, units * rank / size * grain),
            std::min(count, units * (rank + 1) / size * grain)};
  }
};

/// The threads of one call. They go from plan to plan together; in between they split into crews.
/// Rows that fill the SIMD lanes of several crews run fastest apart, for activations then stay in
/// one core's cache; the last few rows of a call run fastest with all threads in one crew.
class Team {
 public:
  explicit Team(int size);

  int size() const { return size_; }

  /// Runs `body(rank)` on `size` new threads and waits. Meanwhile the calling thread runs `poll`
  /// about every 100 ms, and once at the end. The first exception of `poll` or of a `lead` ends the
  /// work and is thrown again here once every thread has returned; `body` must throw nothing else.
  void run(const std::function<void(int)>& body, const std::function<void()>& poll);

  /// Once all threads are here, one runs `plan`. @return to each what it returned; false once the
  /// work is to end
  template <class Plan>
  bool lead(int rank, const Plan& plan) {
    all_.meet();
    if (rank == 0) {
      try {
        going_on_ = !stop_ && plan();
      } catch (...) {
        fail(std::current_exception());
        going_on_ = false;
      }
    }
    all_.meet();
    return going_on_;
  }

  /// Splits the threads into `crews` of about equal size; only in a plan.
  void split(int crews);
  Crew crew(int rank);

 private:
  void fail(std::exception_ptr error);
  int first_rank(int crew) const { return (crew * size_ + crews_ - 1) / crews_; }

  const int size_, spins_;
  Barrier all_;
  std::deque<Barrier> barriers_;  // of each crew
  int crews_ = 1;
  bool going_on_ = true;  // written by the thread that plans, read by the others after a meeting
  std::atomic<bool> stop_ = false, failed_ = false;
  std::exception_ptr error_;  // of whoever raised failed_
};

}  // namespace r1::engine
