#pragma once
#include <span>
#include <string_view>

#include "csrc/rewards/verify_math.h"

namespace r1 {

/// Grades a completion's choice among lettered options.
///
/// The choice is the first of these that is there, the last if several: the body of `<answer>`; a
/// box; what an announcement says ("The answer is (B)", in English, Chinese, French, German or
/// Spanish); "B is correct"; a letter in bold; a last line that begins with a letter. A text that
/// is an option's counts as its letter. Only what follows the last `</think>` is looked at.
/// Two letters are no answer, unless the gold has several. Refutations ("not B", "C is wrong") and
/// articles ("A triangle") are none.
///
/// @param gold     a letter, several ("A, C"), or the text of an option
/// @param options  their texts, A first; empty where they are not known: then A to J
Verdict verify_choice(std::string_view completion, std::string_view gold,
                      std::span<const std::string_view> options);

}  // namespace r1
