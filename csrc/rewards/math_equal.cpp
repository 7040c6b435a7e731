#include "csrc/rewards/math_equal.h"

#include <array>

#include "csrc/rewards/number.h"
#include "csrc/rewards/text.h"

namespace r1 {

std::string_view name(VerdictStatus status) noexcept {
  static constexpr std::array<std::string_view, kVerdictStatuses> kNames = {
      "correct", "wrong", "no_answer", "unparsed_answer", "unparsed_gold", "over_limit"};
  return kNames[static_cast<std::size_t>(status)];
}

VerdictStatus math_equal(std::string_view answer, std::string_view gold) noexcept {
  const auto gold_number = parse_number(gold);
  if (!gold_number) return VerdictStatus::unparsed_gold;
  if (is_blank(answer)) return VerdictStatus::no_answer;
  const auto number = parse_number(answer);
  if (!number) return VerdictStatus::unparsed_answer;
  switch (compare(*number, *gold_number)) {
    case Equality::equal:
      return VerdictStatus::correct;
    case Equality::different:
      return VerdictStatus::wrong;
    default:
      return VerdictStatus::over_limit;
  }
}

}  // namespace r1
