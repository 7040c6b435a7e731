#pragma once
#include <cstdint>
#include <string_view>

namespace r1 {

/// A set of options: bit 0 is A. A question has at most 26.
using Letters = std::uint32_t;

/// The letters that a stretch of text begins with, whatever brackets, fonts and words such as
/// "option" stand around them: "B", "(B)", "\textbf{(B)}", "**B. 12 cm**", "A and C". None for an
/// article ("A triangle"), for words ("Because") and for letters beyond `options`.
/// @param options  how many there are
/// @param lower_case  whether "b" may be an option: only where it stands alone
Letters leading_letters(std::string_view text, int options, bool lower_case) noexcept;

/// The same for a text that is nothing but letters: also "AC".
Letters only_letters(std::string_view text, int options) noexcept;

}  // namespace r1
