#pragma once
#include <string>
#include <string_view>

namespace r1::math {

/// The text in ASCII as far as it is mathematics: full-width forms, Unicode operators, Greek
/// letters, super- and subscripts and vulgar fractions become what LaTeX writes for them;
/// zero-width characters go. Everything else, invalid bytes too, stays.
std::string to_latex(std::string_view text);

/// A text as answers in words are compared: letters folded to lower case, LaTeX's text commands,
/// blanks, punctuation and leading articles gone. "\text{The Moon.}" is "moon".
std::string fold_words(std::string_view text);

}  // namespace r1::math
