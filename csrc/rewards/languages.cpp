#include <algorithm>
#include <array>
#include <bit>
#include <initializer_list>

#include "csrc/rewards/function_words.h"
#include "csrc/rewards/language.h"

namespace r1 {
namespace {

constexpr std::uint64_t bits(std::initializer_list<Script> scripts) {
  std::uint64_t all = 0;
  for (const Script script : scripts) all |= std::uint64_t{1} << static_cast<int>(script);
  return all;
}

constexpr std::uint64_t kLatin = bits({Script::latin});
constexpr std::uint64_t kCyrillic = bits({Script::cyrillic});
constexpr std::uint64_t kArabic = bits({Script::arabic});
constexpr std::uint64_t kDevanagari = bits({Script::devanagari});
constexpr std::uint64_t kJapanese = bits({Script::han, Script::hiragana, Script::katakana});

constexpr int bit_of(FunctionWordBit list) { return std::countr_zero(static_cast<unsigned>(list)); }

// Korean is Hangul alone: modern prose has next to no Han, and with Han a Chinese text would pass.
constexpr auto kLanguages = std::to_array<Language>({
    {"en", kLatin, false, bit_of(kEnglish)},
    {"fr", kLatin, false, bit_of(kFrench)},
    {"de", kLatin, false, bit_of(kGerman)},
    {"es", kLatin, false, bit_of(kSpanish)},
    {"it", kLatin, false, bit_of(kItalian)},
    {"pt", kLatin, false, bit_of(kPortuguese)},
    {"nl", kLatin, false, bit_of(kDutch)},
    {"ca", kLatin},
    {"cs", kLatin},
    {"da", kLatin},
    {"et", kLatin},
    {"fi", kLatin},
    {"hr", kLatin},
    {"hu", kLatin},
    {"id", kLatin},
    {"lt", kLatin},
    {"lv", kLatin},
    {"ms", kLatin},
    {"no", kLatin},
    {"pl", kLatin},
    {"ro", kLatin},
    {"sk", kLatin},
    {"sl", kLatin},
    {"sv", kLatin},
    {"sw", kLatin},
    {"tl", kLatin},
    {"tr", kLatin},
    {"vi", kLatin},
    {"el", bits({Script::greek})},
    {"ru", kCyrillic},
    {"uk", kCyrillic},
    {"bg", kCyrillic},
    {"be", kCyrillic},
    {"kk", kCyrillic},
    {"mk", kCyrillic},
    {"sr", bits({Script::cyrillic, Script::latin})},
    {"hy", bits({Script::armenian})},
    {"ka", bits({Script::georgian})},
    {"he", bits({Script::hebrew})},
    {"ar", kArabic},
    {"fa", kArabic},
    {"ur", kArabic},
    {"hi", kDevanagari},
    {"mr", kDevanagari},
    {"ne", kDevanagari},
    {"bn", bits({Script::bengali})},
    {"pa", bits({Script::gurmukhi})},
    {"gu", bits({Script::gujarati})},
    {"or", bits({Script::oriya})},
    {"ta", bits({Script::tamil})},
    {"te", bits({Script::telugu})},
    {"kn", bits({Script::kannada})},
    {"ml", bits({Script::malayalam})},
    {"si", bits({Script::sinhala})},
    {"th", bits({Script::thai})},
    {"lo", bits({Script::lao})},
    {"my", bits({Script::myanmar})},
    {"km", bits({Script::khmer})},
    {"bo", bits({Script::tibetan})},
    {"mn", bits({Script::cyrillic, Script::mongolian})},
    {"am", bits({Script::ethiopic})},
    {"ko", bits({Script::hangul})},
    {"ja", kJapanese, true},
    {"zh", bits({Script::han})},
});

constexpr auto kCodes = [] {
  std::array<char, 3 * kLanguages.size() - 1> codes{};
  codes.fill(' ');
  for (std::size_t i = 0; i < kLanguages.size(); ++i) {
    std::copy_n(kLanguages[i].code.begin(), 2, codes.begin() + 3 * i);
  }
  return codes;
}();

}  // namespace

const Language* find_language(std::string_view code) noexcept {
  const auto found = std::find_if(kLanguages.begin(), kLanguages.end(),
                                  [&](const Language& language) { return language.code == code; });
  return found == kLanguages.end() ? nullptr : &*found;
}

std::string_view language_codes() noexcept { return {kCodes.data(), kCodes.size()}; }

}  // namespace r1
