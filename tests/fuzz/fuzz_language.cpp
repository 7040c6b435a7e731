// The word counter against a slow one where there is no markup, and its properties everywhere.
#include <algorithm>
#include <string>
#include <vector>

#include "csrc/rewards/language.h"
#include "tests/fuzz/require.h"

namespace {

using r1::Script;

constexpr r1::LanguageOptions kAll = {.part = r1::TextPart::all, .min_words = 1};

std::size_t words(const r1::WordCounts& counts, Script script) {
  return counts.words[static_cast<std::size_t>(script)];
}

/// Words of at least two ASCII letters that are no names of functions: what Latin words are where
/// nothing but ASCII and Han is left of a text.
std::size_t latin_words(const std::string& text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() &&
           ((text[end] >= 'a' && text[end] <= 'z') || (text[end] >= 'A' && text[end] <= 'Z'))) {
      ++end;
    }
    const std::vector<std::string> names = {"cos", "cot", "csc", "det",  "exp", "gcd",
                                            "lcm", "lim", "ln",  "log",  "max", "min",
                                            "mod", "sec", "sin", "sqrt", "tan"};
    std::string word = text.substr(at, end - at);
    for (char& c : word) c = static_cast<char>(c | 0x20);
    count += word.size() > 1 && std::find(names.begin(), names.end(), word) == names.end();
    at = end + 1;
  }
  return count;
}

void check_plain(std::string_view text) {
  std::string plain, with_han;
  std::size_t han = 0;
  for (const char c : text) {
    const bool markup = c == '$' || c == '\\' || c == '`' || c == '<' || c == '.' || c == ':';
    if (markup || static_cast<unsigned char>(c) >= 0x80) continue;
    plain += c;
    with_han += c;
    if (c == ' ') with_han += "\u4F60", ++han;
  }
  const r1::WordCounts counts = count_words(with_han, kAll);
  require(words(counts, Script::latin) == latin_words(plain), "latin words", text);
  require(words(counts, Script::han) == han, "han words", text);
  require(counts.disguised == 0, "nothing is disguised", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_plain(text);

  const r1::WordCounts counts = count_words(text, kAll);
  require(counts.total() <= size, "a word has a letter", text);
  r1::LanguageOptions by_words = kAll;
  by_words.function_words = true;
  require(count_words(text, by_words).words == counts.words, "lists do not change words", text);
  for (const std::string_view code : {"en", "zh", "ja", "ar", "th", "ru"}) {
    const r1::Language& language = *r1::find_language(code);
    for (const r1::LanguageOptions& options : {kAll, by_words, r1::LanguageOptions{}}) {
      const auto share = language_share(text, language, options);
      require(!share || (*share >= 0 && *share <= 1), "in range", text);
    }
    require(language_share(text, language, kAll).has_value() == (counts.total() > 0), "some", text);
  }
  // A blank line ends every word and closes no markup that was open.
  const std::string more = std::string(text) + "\n\n";
  require(count_words(more, kAll).total() == counts.total(), "a blank line adds nothing", text);
  return 0;
}
