// The comparison of answers: symmetric, reflexive where it can read, and bounded.
#include <string>

#include "csrc/rewards/math/reader.h"
#include "csrc/rewards/math/terms.h"
#include "csrc/rewards/math_equal.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using r1::VerdictStatus;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t bar = text.find(';');
  const std::string_view left = text.substr(0, bar);
  const std::string_view right = bar == text.npos ? text : text.substr(bar + 1);

  const bool forth = r1::math_equal(left, right) == VerdictStatus::correct;
  const bool back = r1::math_equal(right, left) == VerdictStatus::correct;
  require(forth == back, "symmetric", text);

  r1::math::Terms terms;
  const bool read = !r1::math::read_answer(terms, left).terms.empty();
  if (read && !terms.budget.is_over() && left.size() <= r1::math::kMaxAnswerBytes) {
    const VerdictStatus self = r1::math_equal(left, left);
    require(self == VerdictStatus::correct || self == VerdictStatus::over_limit, "reflexive", text);
  }
  return 0;
}
