#pragma once
#include <span>
#include <string_view>

#include "csrc/rewards/math_equal.h"

namespace r1 {

struct Verdict {
  VerdictStatus status = VerdictStatus::no_answer;
  std::string_view answer;  // the part of the completion that was judged; null where there is none
};

/// Finds the answer of a completion and compares it with the gold's.
Verdict verify_math(std::string_view completion, std::string_view gold,
                    const MathPolicy& policy = {}) noexcept;

/// The same for a batch, rows shared out among threads as they become free. A row's verdict depends
/// on that row alone, so any number of threads gives the same result.
///
/// @param completions, golds, verdicts  of one length; verdicts are written
/// @param threads  at most this many, >= 1; short batches use fewer, since a thread costs about as
///                 much as 100 rows
void verify_math(std::span<const std::string_view> completions,
                 std::span<const std::string_view> golds, std::span<Verdict> verdicts,
                 const MathPolicy& policy, int threads) noexcept;

}  // namespace r1
