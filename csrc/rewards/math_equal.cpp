#include "csrc/rewards/math_equal.h"

#include <algorithm>
#include <array>
#include <exception>

#include "csrc/rewards/math/equality.h"
#include "csrc/rewards/math/reader.h"
#include "csrc/rewards/math/spelling.h"
#include "csrc/rewards/number.h"
#include "csrc/rewards/text.h"

namespace r1 {
namespace {

using math::Truth;

/// Plain numbers need no parser, and may be of any length.
Truth plain_numbers(std::string_view answer, std::string_view gold,
                    const MathPolicy& policy) noexcept {
  const auto foreign = [](char c) { return (c & 0x80) != 0; };  // a currency that may differ
  if (std::any_of(answer.begin(), answer.end(), foreign)) return Truth::unknown;
  if (std::any_of(gold.begin(), gold.end(), foreign)) return Truth::unknown;
  const auto left = parse_number(answer);
  if (!left) return Truth::unknown;
  const auto right = parse_number(gold);
  if (!right) return Truth::unknown;
  if (left->percent || right->percent) return Truth::unknown;  // a matter of policy
  if (policy.units == MathPolicy::Units::required) return Truth::unknown;
  const Equality equality = compare(*left, *right);
  if (equality == Equality::equal) return Truth::yes;
  const auto whole = [](const Number& number) {
    return !number.denominator && number.numerator.magnitude >= number.numerator.digits;
  };
  // Decimals may agree to some places only, and a comma may separate a list.
  const bool commas = answer.find(',') != answer.npos || gold.find(',') != gold.npos;
  const bool points = answer.find('.') != answer.npos || gold.find('.') != gold.npos;
  return equality == Equality::different && whole(*left) && whole(*right) && !commas && !points
             ? Truth::no
             : Truth::unknown;
}

/// The same bytes but for blanks, other than those that part two words or numbers.
bool same_but_for_blanks(std::string_view a, std::string_view b) noexcept {
  const auto is_word = [](char c) { return is_letter(c) || is_digit(c); };
  std::size_t i = 0, j = 0;
  for (;; ++i, ++j) {
    const std::size_t i_before = i, j_before = j;
    while (i < a.size() && is_space(a[i])) ++i;
    while (j < b.size() && is_space(b[j])) ++j;
    if (i == a.size() || j == b.size()) return i == a.size() && j == b.size();
    if (a[i] != b[j]) return false;
    const bool parted = i > i_before || j > j_before, both = i > i_before && j > j_before;
    if (parted && !both && i_before > 0 && is_word(a[i_before - 1]) && is_word(a[i])) return false;
  }
}

bool has_logarithm(const math::Terms& terms, math::Id id) {
  if (terms.is(id, math::Op::call) && terms.function(id) == math::Function::log) return true;
  const auto children = terms.children(id);
  return std::any_of(children.begin(), children.end(),
                     [&](math::Id child) { return has_logarithm(terms, child); });
}

bool same_words(const math::Readings& a, const math::Readings& b, const MathPolicy& policy,
                std::string_view answer, std::string_view gold) {
  if (a.words.empty() || a.words != b.words) return false;
  return !policy.case_sensitive || same_but_for_blanks(answer, gold);
}

VerdictStatus judge(std::string_view answer, std::string_view gold, const MathPolicy& policy,
                    math::Terms& terms) {
  const math::Readings right = math::read_answer(terms, gold);
  if (terms.budget.is_over()) return VerdictStatus::over_limit;
  const bool readable = !right.terms.empty();
  const math::Readings left = math::read_answer(terms, answer);
  const auto is_text = [&](const math::Readings& r) {
    return r.terms.size() == 1 && terms.is(r.terms[0], math::Op::text);
  };
  if (readable && (is_text(left) || is_text(right)) &&
      same_words(left, right, policy, answer, gold))
    return VerdictStatus::correct;
  if (terms.budget.is_over()) return VerdictStatus::over_limit;
  if (!readable) return VerdictStatus::unparsed_gold;
  if (left.terms.empty()) return VerdictStatus::unparsed_answer;
  if (is_text(left) && is_text(right)) return VerdictStatus::wrong;
  bool unknown = false, logarithm = false;
  for (const bool decimal_logs : {false, true}) {
    if (decimal_logs && !logarithm) break;
    for (const math::Id y : right.terms) {
      for (const math::Id x : left.terms) {
        math::Equality equality(terms, policy, decimal_logs);
        const Truth truth = equality.same(x, y);
        if (truth == Truth::yes) return VerdictStatus::correct;
        unknown |= truth == Truth::unknown;
        logarithm |= has_logarithm(terms, x) || has_logarithm(terms, y);
      }
    }
  }
  return unknown ? VerdictStatus::over_limit : VerdictStatus::wrong;
}

}  // namespace

std::string_view name(VerdictStatus status) noexcept {
  static constexpr std::array<std::string_view, kVerdictStatuses> kNames = {
      "correct", "wrong", "no_answer", "unparsed_answer", "unparsed_gold", "over_limit"};
  return kNames[static_cast<std::size_t>(status)];
}

VerdictStatus math_equal(std::string_view answer, std::string_view gold, const MathPolicy& policy,
                         math::Terms& scratch) noexcept {
  answer = trim(answer);
  gold = trim(gold);
  if (gold.empty()) return VerdictStatus::unparsed_gold;
  switch (plain_numbers(answer, gold, policy)) {
    case Truth::yes:
      return VerdictStatus::correct;
    case Truth::no:
      return VerdictStatus::wrong;
    default:
      break;
  }
  try {
    scratch.clear();
    if (gold.size() > math::kMaxAnswerBytes) {
      return same_but_for_blanks(answer, gold) ? VerdictStatus::correct : VerdictStatus::over_limit;
    }
    if (answer.empty() || answer.size() > math::kMaxAnswerBytes) {
      const bool readable = !math::read_answer(scratch, gold).terms.empty();
      if (!readable) return VerdictStatus::unparsed_gold;
      return answer.empty() ? VerdictStatus::no_answer : VerdictStatus::over_limit;
    }
    const VerdictStatus status = judge(answer, gold, policy, scratch);
    // What no rule can read, or has the time for, may still be the same text.
    const bool open = status == VerdictStatus::unparsed_gold || status == VerdictStatus::over_limit;
    if (open && same_but_for_blanks(answer, gold) &&
        std::any_of(gold.begin(), gold.end(),
                    [](char c) { return is_digit(c) || is_letter(c) || (c & 0x80) != 0; })) {
      return VerdictStatus::correct;
    }
    return status;
  } catch (const std::exception&) {  // out of memory, or arithmetic that Boost refuses
    return VerdictStatus::over_limit;
  }
}

VerdictStatus math_equal(std::string_view answer, std::string_view gold,
                         const MathPolicy& policy) noexcept {
  try {
    math::Terms scratch;
    return math_equal(answer, gold, policy, scratch);
  } catch (const std::exception&) {
    return VerdictStatus::over_limit;
  }
}

}  // namespace r1
