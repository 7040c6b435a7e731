#include "csrc/rewards/language.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "csrc/rewards/function_words.h"
#include "csrc/rewards/markup.h"

namespace r1 {
namespace {

constexpr std::size_t kLettersPerUnspacedWord = 4;
constexpr std::size_t kMinFunctionWords = 5;
constexpr std::size_t kKanaPerTen = 1;  // in ten Japanese characters; ordinary prose has five

std::string_view thinking(std::string_view text) noexcept {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  const std::size_t close = text.rfind(kClose);
  if (close != text.npos) text = text.substr(0, close);
  const std::size_t open = text.find(kOpen);
  return open == text.npos ? text : text.substr(open + kOpen.size());
}

/// Names of functions that mathematics in any language is written with.
constexpr bool is_function_name(std::string_view word) noexcept {
  constexpr std::string_view kNames[] = {"cos", "cot", "csc", "det",  "exp", "gcd",
                                         "lcm", "lim", "ln",  "log",  "max", "min",
                                         "mod", "sec", "sin", "sqrt", "tan"};
  return std::find(std::begin(kNames), std::end(kNames), word) != std::end(kNames);
}

constexpr std::uint64_t bit(Script script) noexcept {
  return std::uint64_t{1} << static_cast<int>(script);
}

/// Scripts with letters that look alike: mixing them within a word deceives, while between the
/// others a change of script is where a word ends ("用Python写", "Python을").
constexpr bool looks_alike(Script script) noexcept {
  return script == Script::latin || script == Script::greek || script == Script::cyrillic ||
         script == Script::armenian || script == Script::other;
}

/// Whether the spelling of a script needs an invisible character.
constexpr bool spells_with(Script script, char32_t hidden) noexcept {
  const bool joined = script >= Script::arabic && script <= Script::mongolian;
  if (hidden == 0x200C || hidden == 0x200D) return joined && script != Script::thai;
  const bool right_to_left = script == Script::arabic || script == Script::hebrew;
  return right_to_left && (hidden == 0x200E || hidden == 0x200F || hidden == 0x061C);
}

/// The word under way, letter by letter.
class WordCounter {
 public:
  explicit WordCounter(bool function_words) noexcept : function_words_(function_words) {}

  void add(char32_t code) noexcept {
    const Script script = find_script_(code);
    if (script >= Script::latin) return add_letter(code, script);
    if (script == Script::mark) return;
    if (script == Script::hidden) return add_hidden(code);
    end_word();
  }

  bool in_word() const noexcept { return letters_ != 0; }

  void end_word() noexcept {
    if (letters_ != 0) count_word();
    letters_ = size_ = 0;
    scripts_ = 0;
    disguised_ = false;
    hidden_ = 0;
  }

  const WordCounts& counts() const noexcept { return counts_; }

 private:
  void add_letter(char32_t code, Script script) noexcept {
    if (letters_ != 0 && script != script_ && !(looks_alike(script) && looks_alike(script_))) {
      const char32_t hidden = hidden_;
      end_word();
      hidden_ = hidden;
    }
    script_ = script;
    scripts_ |= bit(script);
    ++letters_;
    disguised_ = disguised_ || (hidden_ != 0 && !spells_with(script, hidden_));
    hidden_ = 0;
    if (script == Script::latin) spell(code);
    if (is_ideograph(script)) end_word();
  }

  void add_hidden(char32_t code) noexcept {
    if (letters_ == 0) {
      hidden_ = code;  // in front of a word; a blank in between makes it harmless
    } else {
      disguised_ = disguised_ || !spells_with(script_, code);
    }
  }

  /// Keeps what is_function_name and the lists of function words compare: lower case, and short.
  void spell(char32_t code) noexcept {
    const auto put = [&](char32_t byte) {
      if (size_ < spelling_.size()) spelling_[size_] = static_cast<char>(byte);
      ++size_;
    };
    const bool upper = (code >= 'A' && code <= 'Z') || (code >= 0xC0 && code <= 0xDE);
    if (upper) code |= 0x20;
    if (code < 0x80) return put(code);
    put(0xC0 | code >> 6);  // garbage above U+07FF, which is in no list
    put(0x80 | (code & 0x3F));
  }

  void count_word() noexcept {
    const bool mixed = !std::has_single_bit(scripts_);
    const bool symbols = (scripts_ & ~(bit(Script::latin) | bit(Script::greek))) == 0;
    if (symbols && letters_ <= (mixed ? 2u : 1u) && !disguised_) return;  // "x", "π", "Δx"
    if (mixed || disguised_) {
      ++counts_.disguised;
      return;
    }
    const std::string_view word(spelling_.data(), std::min(size_, spelling_.size()));
    if (script_ == Script::latin && size_ == letters_ && size_ <= 4 && is_function_name(word))
      return;
    const std::size_t words =
        is_unspaced(script_) ? std::max<std::size_t>(1, letters_ / kLettersPerUnspacedWord) : 1;
    counts_.words[static_cast<std::size_t>(script_)] += words;
    if (function_words_ && script_ == Script::latin && size_ <= spelling_.size()) look_up(word);
  }

  void look_up(std::string_view word) noexcept {
    const unsigned languages = function_word_languages(word);
    counts_.any_function_words += languages != 0;
    for (unsigned rest = languages; rest != 0; rest &= rest - 1) {
      ++counts_.function_words[static_cast<std::size_t>(std::countr_zero(rest))];
    }
  }

  WordCounts counts_;
  ScriptFinder find_script_;
  const bool function_words_;
  std::size_t letters_ = 0;        // of the word; 0 between words
  std::uint64_t scripts_ = 0;      // of its letters
  Script script_ = Script::none;   // of its last letter
  bool disguised_ = false;         // an invisible character is in it, or just in front
  char32_t hidden_ = 0;            // the invisible character in front of the next word
  std::array<char, 12> spelling_;  // of a Latin word: its first bytes
  std::size_t size_ = 0;           // of the whole spelling
};

}  // namespace

std::size_t WordCounts::total() const noexcept {
  return std::accumulate(words.begin(), words.end(), disguised);
}

WordCounts count_words(std::string_view text, const LanguageOptions& options) noexcept {
  if (options.part == TextPart::think) text = thinking(text);
  Markup markup(text);
  WordCounter counter(options.function_words);
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    const bool link = (c == 'h' || c == 'H' || c == 'w' || c == 'W') && !counter.in_word();
    if (link || Markup::may_begin(c)) {
      if (const std::size_t end = markup.skip(at); end != at) {
        counter.end_word();
        at = end;
        continue;
      }
    }
    const CodePoint next = decode_utf8(text, at);
    counter.add(next.code);
    at += next.size;
  }
  counter.end_word();
  return counter.counts();
}

std::optional<double> language_share(std::string_view text, const Language& language,
                                     const LanguageOptions& options) noexcept {
  const WordCounts counts = count_words(text, options);
  const auto of = [&](Script script) { return counts.words[static_cast<std::size_t>(script)]; };
  const std::size_t total = counts.total();
  if (total < std::max<std::size_t>(1, options.min_words)) return std::nullopt;

  std::uint64_t scripts = language.scripts;
  const std::size_t kana = of(Script::hiragana) + of(Script::katakana);
  if (language.needs_kana && kana * 10 < (kana + of(Script::han)) * kKanaPerTen) {
    scripts &= ~bit(Script::han);
  }
  std::size_t target = 0;
  for (std::size_t i = 0; i < kScripts; ++i) {
    if (scripts >> i & 1) target += counts.words[i];
  }
  double share = static_cast<double>(target) / static_cast<double>(total);
  if (options.function_words && language.function_words >= 0 &&
      counts.any_function_words >= kMinFunctionWords) {
    const auto own = counts.function_words[static_cast<std::size_t>(language.function_words)];
    share *= static_cast<double>(own) / static_cast<double>(counts.any_function_words);
  }
  return share;
}

}  // namespace r1
