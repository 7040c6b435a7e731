#pragma once
#include <string_view>

namespace r1 {

/// Finds the final answer of a completion: the first of these that is there, the last if several.
///
///   1. the body of `<answer> ... </answer>`; in it a box, or what an announcement there says;
///   2. the contents of `\boxed{...}` or `\fbox{...}`; also `\boxed 7`. Boxes that only "and", "or"
///      or a comma part are one answer, which then holds the commands too;
///   3. what follows the last announcement near the end: see find_marked_answer;
///   4. the last line, if it is a formula, or its last formula;
///   5. the last number of the last line, if that is a finished sentence, and if `last_number`.
///
/// Only what follows the last `</think>` is looked at, where there is one: thoughts are drafts. A
/// text whose `<think>` is still open can only answer by rule 1. A tag or box that is never closed
/// does not count.
///
/// Linear in the text, allocates nothing, accepts any bytes.
/// @return a trimmed part of `completion`; data() is null where there is no answer, and the result
///         is empty but not null where an answer is blank
std::string_view find_answer(std::string_view completion, bool last_number = true) noexcept;

/// Finds the answer of a gold: rules 1 and 2 above, else the rest of the line behind the last
/// `####` (GSM8K's mark), else, of a solution of several lines, rules 3 to 5; else the whole text,
/// trimmed: "18", "\boxed{18}" and "9 * 2 = 18\n#### 18" are the same gold.
std::string_view find_gold_answer(std::string_view gold) noexcept;

}  // namespace r1
