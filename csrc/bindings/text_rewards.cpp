#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "csrc/bindings/bindings.h"
#include "csrc/bindings/utf8.h"
#include "csrc/check.h"
#include "csrc/rewards/language.h"
#include "csrc/rewards/repetition.h"

namespace r1::bindings {
namespace {

using Ids = std::vector<std::uint64_t>;

const Language& require_language(const std::string& code, bool function_words) {
  const Language* language = find_language(code);
  if (language == nullptr) {
    reject("language_consistency", "language must be one of ", language_codes(), "; got ", code);
  }
  if (function_words && language->function_words < 0) {
    reject("language_consistency", "function_words must be False for ", code,
           ": there are lists for en fr de es it pt nl");
  }
  return *language;
}

std::vector<std::optional<double>> language_shares(const py::sequence& texts,
                                                   const std::string& language,
                                                   std::int64_t min_words, bool think,
                                                   bool function_words) {
  const Language& target = require_language(language, function_words);
  if (min_words < 0) reject("language_consistency", "min_words must be >= 0; got ", min_words);
  const LanguageOptions options = {.part = think ? TextPart::think : TextPart::all,
                                   .min_words = static_cast<std::size_t>(min_words),
                                   .function_words = function_words};
  const Utf8Texts utf8("language_consistency", "texts", texts);
  std::vector<std::optional<double>> shares;
  shares.reserve(utf8.views().size());
  const py::gil_scoped_release release;
  for (const auto text : utf8.views()) shares.push_back(language_share(text, target, options));
  return shares;
}

void require_ngram_size(std::int64_t ngram_size) {
  if (ngram_size < 1) reject("repetition_penalty", "ngram_size must be >= 1; got ", ngram_size);
}

std::vector<double> repeated_word_ngrams(const py::sequence& texts, std::int64_t ngram_size) {
  require_ngram_size(ngram_size);
  const Utf8Texts utf8("repetition_penalty", "texts", texts);
  std::vector<double> shares;
  shares.reserve(utf8.views().size());
  const py::gil_scoped_release release;
  for (const auto text : utf8.views()) {
    shares.push_back(repeated_ngram_share(word_hashes(text), static_cast<std::size_t>(ngram_size)));
  }
  return shares;
}

std::vector<double> repeated_token_ngrams(const std::vector<Ids>& tokens, std::int64_t ngram_size) {
  require_ngram_size(ngram_size);
  std::vector<double> shares;
  shares.reserve(tokens.size());
  const py::gil_scoped_release release;
  for (const Ids& ids : tokens) {
    shares.push_back(repeated_ngram_share(ids, static_cast<std::size_t>(ngram_size)));
  }
  return shares;
}

LoopLimits loop_limits(std::int64_t max_period, std::int64_t min_repeats, std::int64_t min_length) {
  constexpr const char* kName = "longest_periodic_suffix";
  if (max_period < 1) reject(kName, "max_period must be >= 1; got ", max_period);
  if (min_repeats < 2) reject(kName, "min_repeats must be >= 2; got ", min_repeats);
  if (min_length < 1) reject(kName, "min_length must be >= 1; got ", min_length);
  return {.max_period = static_cast<std::size_t>(max_period),
          .min_repeats = static_cast<std::size_t>(min_repeats),
          .min_length = static_cast<std::size_t>(min_length)};
}

using Pair = std::pair<std::size_t, std::size_t>;

std::vector<Pair> text_loops(const py::sequence& texts, std::int64_t max_period,
                             std::int64_t min_repeats, std::int64_t min_length) {
  const LoopLimits limits = loop_limits(max_period, min_repeats, min_length);
  const Utf8Texts utf8("longest_periodic_suffix", "texts", texts);
  std::vector<Pair> loops;
  loops.reserve(utf8.views().size());
  const py::gil_scoped_release release;
  for (const auto text : utf8.views()) {
    const Loop loop = find_loop(code_points(text), limits);
    loops.emplace_back(loop.length, loop.period);
  }
  return loops;
}

Pair token_loop(const Ids& tokens, std::int64_t max_period, std::int64_t min_repeats,
                std::int64_t min_length) {
  const LoopLimits limits = loop_limits(max_period, min_repeats, min_length);
  const py::gil_scoped_release release;
  const Loop loop = find_loop(tokens, limits);
  return {loop.length, loop.period};
}

}  // namespace

void bind_text_rewards(py::module_& m) {
  m.def("language_shares", &language_shares, "texts"_a, "language"_a, "min_words"_a, "think"_a,
        "function_words"_a, "Share or None per text; see r1core.rewards.language_consistency");
  m.def("repeated_word_ngrams", &repeated_word_ngrams, "texts"_a, "ngram_size"_a,
        "Share per text; see r1core.rewards.repetition_penalty");
  m.def("repeated_token_ngrams", &repeated_token_ngrams, "tokens"_a, "ngram_size"_a,
        "Share per sequence; see r1core.rewards.token_repetition_penalty");
  m.def("text_loops", &text_loops, "texts"_a, "max_period"_a, "min_repeats"_a, "min_length"_a,
        "(length, period) per text; see r1core.rewards.longest_periodic_suffix");
  m.def("token_loop", &token_loop, "tokens"_a, "max_period"_a, "min_repeats"_a, "min_length"_a,
        "(length, period); see r1core.repetition.loop_length");
}

}  // namespace r1::bindings
