#pragma once
#include <cstdint>
#include <string_view>

namespace r1 {

/// What the verifier says about one completion.
enum class VerdictStatus : std::uint8_t {
  correct,
  wrong,
  no_answer,        // the completion gives none, or a blank one
  unparsed_answer,  // it gives one that is no number
  unparsed_gold,    // the gold is no number: the row cannot be judged
  over_limit,       // judging it would take more work than the limits allow
};
inline constexpr int kVerdictStatuses = static_cast<int>(VerdictStatus::over_limit) + 1;

/// The status as the Python API spells it.
std::string_view name(VerdictStatus status) noexcept;

/// Compares an answer with a gold, both already found: exact equality of rationals.
///
/// Symmetric but for which side is to blame: swapping the arguments gives the same `correct` and
/// `wrong`. A gold that cannot be read outranks every fault of the answer.
/// Does not throw or allocate; see `compare` for the one limit.
VerdictStatus math_equal(std::string_view answer, std::string_view gold) noexcept;

}  // namespace r1
