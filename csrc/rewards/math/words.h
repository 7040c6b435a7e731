#pragma once
#include <optional>
#include <string_view>

#include "csrc/rewards/math/rational.h"

namespace r1::math {

/// The number that English words name: "twenty one", "five hundred and two", "two thirds", "minus
/// three", "two and a half".
/// @param words  from `fold_words`
std::optional<Rational> number_in_words(std::string_view words);

struct Scale {
  std::int64_t times = 1, per = 1;
};

/// What a word behind a number multiplies it by: million, dozen, tenths.
std::optional<Scale> scale_of_word(std::string_view word);

/// Whether a text is only words that announce an answer: "The answer is", "about", "exactly".
bool is_filler(std::string_view text);

/// Whether words behind a number deny it or make it a bound: "or more", "no solution", "not".
bool is_denial(std::string_view text);

}  // namespace r1::math
