#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "csrc/rewards/unicode.h"

namespace r1 {

/// A language as this library tells it: by the scripts it is written in, and for those that share
/// the Latin script by their commonest words.
struct Language {
  std::string_view code;    // ISO 639
  std::uint64_t scripts;    // bit i: Script i
  bool needs_kana = false;  // Japanese: characters without kana are Chinese
  int function_words = -1;  // bit of its list of words; -1 where there is none
};

/// Finds a language by its code; nullptr where it is not known.
const Language* find_language(std::string_view code) noexcept;

/// All codes, separated by blanks: for messages.
std::string_view language_codes() noexcept;

/// The words of a text, by script.
struct WordCounts {
  std::array<std::size_t, kScripts> words{};
  std::size_t disguised = 0;  // scripts mixed within a word, or invisible characters in it
  // Only if asked for: by bit of Language::function_words, and those that are in any list.
  std::array<std::size_t, 8> function_words{};
  std::size_t any_function_words = 0;

  std::size_t total() const noexcept;
};

enum class TextPart : std::uint8_t { think, all };

struct LanguageOptions {
  TextPart part = TextPart::think;
  std::size_t min_words = 8;
  bool function_words = false;
};

/// Counts the words of the prose, in one pass; any bytes are accepted, nothing is allocated.
///
/// Markup (see markup.h), digits and symbols are left out. A Han character or a kana is a word;
/// Thai and its like, written without blanks, count a word per four letters; else a run of letters
/// of one script with their marks is a word. A lone Latin or Greek letter is a symbol (x, pi), not
/// a word, nor are sin, log and other names of functions. Scripts that look alike (Latin, Greek,
/// Cyrillic, Armenian and rare ones) mixed in one run make a disguised word; so do invisible
/// characters, but for the joiners and direction marks that Arabic, Hebrew and Indic spelling
/// needs.
///
/// `options.part` think: what stands after the first <think> and before the last </think>, of which
/// either may be missing; everything where the text has neither.
WordCounts count_words(std::string_view text, const LanguageOptions& options) noexcept;

/// The share of words that are in the language's scripts: DeepSeek-R1's language consistency.
/// With `options.function_words` it is multiplied by the share of the language's own among the
/// function words found, given at least five; a word that several languages share is each one's
/// own.
///
/// @return in [0, 1]; nothing where there are fewer than max(1, options.min_words) words
std::optional<double> language_share(std::string_view text, const Language& language,
                                     const LanguageOptions& options) noexcept;

}  // namespace r1
