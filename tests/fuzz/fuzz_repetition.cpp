// The rolling hash against a set of n-grams, and the failure function against every period.
#include <algorithm>
#include <set>
#include <vector>

#include "csrc/rewards/repetition.h"
#include "tests/fuzz/require.h"

namespace {

using Tokens = std::vector<std::uint64_t>;

double repeated_share(const Tokens& tokens, std::size_t n) {
  std::set<Tokens> distinct;
  std::size_t total = 0;
  for (std::size_t i = 0; i + n <= tokens.size(); ++i, ++total) {
    distinct.emplace(tokens.begin() + static_cast<long>(i),
                     tokens.begin() + static_cast<long>(i + n));
  }
  if (total == 0) return 0;
  return 1 - static_cast<double>(distinct.size()) / static_cast<double>(total);
}

r1::Loop loop(const Tokens& tokens, const r1::LoopLimits& limits) {
  r1::Loop best;
  const std::size_t size = tokens.size();
  for (std::size_t period = 1; period <= limits.max_period && period <= size; ++period) {
    std::size_t length = period;  // of the longest suffix with that period
    while (length < size && tokens[size - 1 - length] == tokens[size - 1 - length + period]) {
      ++length;
    }
    const bool counts = length >= limits.min_length && length >= period * limits.min_repeats;
    if (counts && length > best.length) best = {length, period};
  }
  return best;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data),
                              std::min<std::size_t>(size, 400));
  const Tokens words = r1::word_hashes(text), codes = r1::code_points(text);
  require(words.size() <= codes.size() && codes.size() <= text.size(), "sizes", text);
  for (const std::size_t n : {1, 2, 3, 7}) {
    for (const Tokens& tokens : {words, codes}) {
      require(r1::repeated_ngram_share(tokens, n) == repeated_share(tokens, n), "n-grams", text);
    }
  }
  for (const r1::LoopLimits limits : {r1::LoopLimits{1000, 2, 1}, r1::LoopLimits{3, 4, 5}}) {
    const r1::Loop found = r1::find_loop(codes, limits), expected = loop(codes, limits);
    require(found.length == expected.length && found.period == expected.period, "loop", text);
  }
  return 0;
}
