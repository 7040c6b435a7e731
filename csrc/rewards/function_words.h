#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace r1 {

/// A bit per language with a list; WordCounts::function_words is in this order.
enum FunctionWordBit : std::uint8_t {
  kEnglish = 1,
  kFrench = 2,
  kGerman = 4,
  kSpanish = 8,
  kItalian = 16,
  kPortuguese = 32,
  kDutch = 64,
};

struct FunctionWord {
  std::string_view word;  // lower case, at least two letters
  std::uint8_t languages;
};

inline constexpr std::uint8_t kRomance = kSpanish | kItalian | kPortuguese;

/// Some thirty of the commonest words of each language; "die" is English too, but no function word.
inline constexpr auto kFunctionWords = [] {
  std::array table = std::to_array<FunctionWord>({
      // English
      {"the", kEnglish},
      {"of", kEnglish | kDutch},
      {"and", kEnglish},
      {"to", kEnglish},
      {"is", kEnglish | kDutch},
      {"that", kEnglish},
      {"it", kEnglish},
      {"for", kEnglish},
      {"with", kEnglish},
      {"this", kEnglish},
      {"we", kEnglish | kDutch},
      {"are", kEnglish},
      {"be", kEnglish},
      {"not", kEnglish},
      {"have", kEnglish},
      {"which", kEnglish},
      {"by", kEnglish},
      {"from", kEnglish},
      {"so", kEnglish | kGerman},
      {"then", kEnglish},
      {"but", kEnglish},
      {"can", kEnglish},
      {"if", kEnglish},
      {"what", kEnglish},
      {"there", kEnglish},
      {"let", kEnglish},
      {"at", kEnglish},
      {"or", kEnglish | kFrench},
      {"they", kEnglish},
      {"would", kEnglish},
      {"because", kEnglish},
      // French
      {"le", kFrench | kItalian},
      {"la", kFrench | kSpanish | kItalian},
      {"les", kFrench | kSpanish},
      {"des", kFrench | kGerman},
      {"et", kFrench},
      {"est", kFrench},
      {"un", kFrench | kSpanish | kItalian},
      {"une", kFrench},
      {"du", kFrench | kGerman},
      {"que", kFrench | kSpanish | kPortuguese},
      {"qui", kFrench | kItalian},
      {"dans", kFrench},
      {"pour", kFrench},
      {"pas", kFrench},
      {"il", kFrench | kItalian},
      {"nous", kFrench},
      {"sur", kFrench},
      {"sont", kFrench},
      {"donc", kFrench},
      {"avec", kFrench},
      {"ce", kFrench},
      {"on", kFrench | kEnglish},
      {"par", kFrench},
      {"mais", kFrench | kPortuguese},
      {"cette", kFrench},
      {"alors", kFrench},
      {"ne", kFrench | kItalian},
      // German
      {"der", kGerman},
      {"die", kGerman | kDutch},
      {"das", kGerman | kPortuguese},
      {"und", kGerman},
      {"ist", kGerman},
      {"nicht", kGerman},
      {"ein", kGerman},
      {"eine", kGerman},
      {"den", kGerman | kDutch},
      {"dem", kGerman},
      {"wir", kGerman},
      {"es", kGerman | kSpanish},
      {"mit", kGerman},
      {"zu", kGerman},
      {"von", kGerman},
      {"auf", kGerman},
      {"sich", kGerman},
      {"auch", kGerman},
      {"sind", kGerman},
      {"wenn", kGerman},
      {"dann", kGerman},
      {"also", kGerman | kEnglish},
      {"wie", kGerman | kDutch},
      {"aber", kGerman},
      {"oder", kGerman},
      {"als", kGerman | kDutch},
      {"dass", kGerman},
      {"in", kEnglish | kGerman | kItalian | kDutch},
      // Spanish
      {"el", kSpanish},
      {"los", kSpanish},
      {"las", kSpanish},
      {"en", kSpanish | kFrench | kDutch},
      {"de", kSpanish | kFrench | kPortuguese | kDutch},
      {"del", kSpanish | kItalian},
      {"por", kSpanish | kPortuguese},
      {"una", kSpanish | kItalian},
      {"con", kSpanish | kItalian},
      {"para", kSpanish | kPortuguese},
      {"se", kRomance | kFrench},
      {"su", kSpanish | kItalian},
      {"pero", kSpanish},
      {"como", kSpanish | kPortuguese},
      {"más", kSpanish},
      {"entonces", kSpanish},
      {"cada", kSpanish | kPortuguese},
      {"lo", kSpanish | kItalian},
      {"si", kSpanish | kItalian | kFrench},
      {"son", kSpanish | kFrench},
      // Italian
      {"di", kItalian},
      {"che", kItalian},
      {"per", kItalian},
      {"non", kItalian | kFrench},
      {"sono", kItalian},
      {"gli", kItalian},
      {"della", kItalian},
      {"da", kItalian | kPortuguese | kGerman},
      {"come", kItalian},
      {"ma", kItalian},
      {"anche", kItalian},
      {"quindi", kItalian},
      {"questo", kItalian},
      // Portuguese
      {"os", kPortuguese},
      {"as", kPortuguese | kEnglish},
      {"um", kPortuguese | kGerman},
      {"uma", kPortuguese},
      {"não", kPortuguese},
      {"com", kPortuguese},
      {"em", kPortuguese},
      {"dos", kPortuguese | kSpanish},
      {"no", kPortuguese | kSpanish | kEnglish},
      {"na", kPortuguese | kDutch},
      {"ao", kPortuguese},
      {"então", kPortuguese},
      {"são", kPortuguese},
      {"isso", kPortuguese},
      // Dutch
      {"het", kDutch},
      {"een", kDutch},
      {"van", kDutch},
      {"dat", kDutch},
      {"niet", kDutch},
      {"zijn", kDutch},
      {"op", kDutch},
      {"te", kDutch | kSpanish | kFrench | kItalian},
      {"voor", kDutch},
      {"met", kDutch},
      {"er", kDutch | kGerman},
      {"maar", kDutch},
      {"dus", kDutch},
      {"ook", kDutch},
      {"om", kDutch},
      {"aan", kDutch},
      {"ik", kDutch},
  });
  std::sort(table.begin(), table.end(),
            [](const FunctionWord& a, const FunctionWord& b) { return a.word < b.word; });
  return table;
}();

/// The languages whose list has a lower-case word, as bits; 0 where none has.
constexpr std::uint8_t function_word_languages(std::string_view word) noexcept {
  const auto found = std::lower_bound(
      kFunctionWords.begin(), kFunctionWords.end(), word,
      [](const FunctionWord& entry, std::string_view value) { return entry.word < value; });
  return found != kFunctionWords.end() && found->word == word ? found->languages : 0;
}

}  // namespace r1
