#pragma once
#include <cstdint>
#include <string_view>

#include "csrc/rewards/math_policy.h"

namespace r1 {

namespace math {
class Terms;
}

/// What the verifier says about one completion.
enum class VerdictStatus : std::uint8_t {
  correct,
  wrong,
  no_answer,        // the completion gives none, or a blank one
  unparsed_answer,  // it gives one that cannot be read
  unparsed_gold,    // the gold cannot be read: the row cannot be judged
  over_limit,       // judging it would take more work than the limits allow
};
inline constexpr int kVerdictStatuses = static_cast<int>(VerdictStatus::over_limit) + 1;

/// The status as the Python API spells it.
std::string_view name(VerdictStatus status) noexcept;

/// Compares an answer with a gold, both already found, as mathematics: numbers of every spelling,
/// expressions, sets, intervals, matrices, relations, words. See docs/verifier.md for the kinds.
///
/// Work is bounded by counted steps, so the verdict is the same on every machine; what cannot be
/// settled within them is over_limit. Symmetric but for which side is to blame: swapping the
/// arguments gives the same `correct` and `wrong`. A gold that cannot be read outranks every fault
/// of the answer.
VerdictStatus math_equal(std::string_view answer, std::string_view gold,
                         const MathPolicy& policy = {}) noexcept;

/// The same with working memory of the caller's, cleared first: for many questions in a row.
VerdictStatus math_equal(std::string_view answer, std::string_view gold, const MathPolicy& policy,
                         math::Terms& scratch) noexcept;

}  // namespace r1
