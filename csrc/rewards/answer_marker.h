#pragma once
#include <string_view>

namespace r1 {

/// What follows the last words that announce an answer, within the last two kilobytes: "The final
/// answer is $5$.", "**Answer:** 5", "#### 5", a heading "# Answer", and their like in Chinese,
/// French, German and Spanish. Null where nothing announces one.
std::string_view find_marked_answer(std::string_view text, bool last_number) noexcept;

/// What a last line says without announcing it: the whole line if it is a formula, else its last
/// formula, else, of a finished sentence, its last number if `last_number`; null where it has none.
std::string_view find_last_line_answer(std::string_view text, bool last_number) noexcept;

/// What follows "is", "would be:", "=", a colon and their like behind a word such as "answer",
/// which then announces a value; null where it announces none.
std::string_view skip_announcing_words(std::string_view text) noexcept;
/// The same behind a Chinese word: "\u662f", "\u4e3a", a colon.
std::string_view skip_chinese_copula(std::string_view text) noexcept;

}  // namespace r1
