#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace r1 {

/// Splits a text at blanks of any script and returns a hash per word; Han, kana and the letters of
/// Thai and its like, which blanks do not separate, are a word each, with the marks they carry.
/// Upper and lower case differ. Any bytes are accepted.
std::vector<std::uint64_t> word_hashes(std::string_view text);

/// The share of n-grams that stood before: 1 - distinct / all, in [0, 1); 0 where there are fewer
/// than `n` tokens. (Demystifying Long Chain-of-Thought Reasoning, appendix C.2.)
///
/// One pass with a rolling hash modulo 2^61 - 1, so exact but for collisions: one in 10^6 for a
/// text of a million n-grams. Allocates a table of twice to four times the tokens.
///
/// @param n  >= 1
double repeated_ngram_share(std::span<const std::uint64_t> tokens, std::size_t n);

/// The end of a sequence where one unit stands over and over.
struct Loop {
  std::size_t length = 0;  // in tokens; 0 where there is none
  std::size_t period = 0;  // of the unit
};

struct LoopLimits {
  std::size_t max_period;   // >= 1
  std::size_t min_repeats;  // of the unit, the last of which may be cut off beyond these; >= 2
  std::size_t min_length;   // of the loop; >= 1
};

/// The longest suffix that has a period p with length >= min_repeats * p, its shortest one.
/// Linear in time and memory, by Knuth, Morris and Pratt's failure function of the reversed tokens.
Loop find_loop(std::span<const std::uint64_t> tokens, const LoopLimits& limits);

/// A text's code points, as tokens.
std::vector<std::uint64_t> code_points(std::string_view text);

}  // namespace r1
