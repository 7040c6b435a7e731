#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "csrc/rewards/math/lexer.h"
#include "csrc/rewards/math/terms.h"

namespace r1::math {

/// What a text can mean: a few terms, the likeliest first; none where it is neither mathematics nor
/// words. "1,234" is 1234, or the two numbers 1 and 234.
struct Readings {
  std::vector<Id> terms;
  std::string words;  // folded, where the text may be an answer in words
};

inline constexpr std::size_t kMaxAnswerBytes = 4'096;

Readings read_answer(Terms& terms, std::string_view text);

/// The text without what stands around an answer: blanks, markdown's stars, quotes, a full stop.
std::string_view strip_answer(std::string_view text);

}  // namespace r1::math
