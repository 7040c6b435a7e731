#pragma once
#include <string_view>

namespace r1 {

/// Whether a stretch reads as prose: a word that is no function's name, where a formula has only
/// commands, functions and single letters.
bool is_prose(std::string_view text) noexcept;

/// Whether a line was brought to its end. One that the length limit cut off says nothing yet: "she
/// pays 5 * 1".
bool is_sentence(std::string_view line) noexcept;

/// The first stretch of formulas between $..$, $$..$$, \(..\), \[..\], or the last; those that only
/// "and", "or" or a comma part are one stretch. Null where there is none.
std::string_view find_formula(std::string_view text, bool last) noexcept;

/// The last number of a line, with its sign, currency and percent sign; null where it has none.
std::string_view last_number_of(std::string_view line) noexcept;

/// Drops Markdown's marks, quotes and a full stop from both ends.
std::string_view strip_markup(std::string_view text) noexcept;

/// The answer inside a stretch of prose, or the stretch itself where it is no prose: a formula
/// between dollars, or the number in "she has 18 dollars".
std::string_view narrow_to_answer(std::string_view prose, bool last_number) noexcept;

}  // namespace r1
