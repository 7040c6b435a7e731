#include "csrc/rewards/verify_math.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <system_error>
#include <thread>

#include "csrc/rewards/answer.h"
#include "csrc/rewards/math/terms.h"

namespace r1 {
namespace {

constexpr std::size_t kRowsAtOnce = 32;          // taken by a thread in one go
constexpr std::size_t kBytesPerThread = 65'536;  // about 20 microseconds of work
constexpr std::size_t kMaxThreads = 64;

std::size_t useful_threads(std::span<const std::string_view> completions, int threads) noexcept {
  std::size_t bytes = 0;
  for (const std::string_view completion : completions) bytes += completion.size() + 64;
  const std::size_t wanted = std::min(static_cast<std::size_t>(threads), kMaxThreads);
  return std::min(wanted, bytes / kBytesPerThread + 1);
}

}  // namespace

Verdict verify_math(std::string_view completion, std::string_view gold,
                    const MathPolicy& policy) noexcept {
  const std::string_view answer = find_answer(completion, policy.last_number);
  return {math_equal(answer, find_gold_answer(gold), policy), answer};
}

void verify_math(std::span<const std::string_view> completions,
                 std::span<const std::string_view> golds, std::span<Verdict> verdicts,
                 const MathPolicy& policy, int threads) noexcept {
  std::atomic<std::size_t> next = 0;
  const auto work = [&]() noexcept {
    math::Terms scratch;
    for (;;) {
      const std::size_t begin = next.fetch_add(kRowsAtOnce, std::memory_order_relaxed);
      if (begin >= completions.size()) return;
      const std::size_t end = std::min(begin + kRowsAtOnce, completions.size());
      for (std::size_t n = begin; n < end; ++n) {
        const std::string_view answer = find_answer(completions[n], policy.last_number);
        verdicts[n] = {math_equal(answer, find_gold_answer(golds[n]), policy, scratch), answer};
      }
    }
  };
  std::array<std::thread, kMaxThreads> helpers;
  std::size_t started = 0;
  try {
    for (const std::size_t wanted = useful_threads(completions, threads); started + 1 < wanted;) {
      helpers[started] = std::thread(work);
      ++started;
    }
  } catch (const std::system_error&) {
    // The system has no thread to spare; those that run, and this one, do the work.
  }
  work();
  for (std::size_t i = 0; i < started; ++i) helpers[i].join();
}

}  // namespace r1
