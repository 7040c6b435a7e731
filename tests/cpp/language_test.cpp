#include "csrc/rewards/language.h"

#include <gtest/gtest.h>

#include <string>

namespace {

using r1::LanguageOptions;
using r1::Script;
using r1::TextPart;

constexpr LanguageOptions kAll = {.part = TextPart::all, .min_words = 1};

std::size_t words(const r1::WordCounts& counts, Script script) {
  return counts.words[static_cast<std::size_t>(script)];
}

struct Row {
  const char* name;
  std::string_view text;
  std::size_t latin, han, other;  // words in Latin, in Han, in the rest with the disguised
};

class CountWords : public testing::TestWithParam<Row> {};

TEST_P(CountWords, CountsProseByScript) {
  const auto counts = count_words(GetParam().text, kAll);
  EXPECT_EQ(words(counts, Script::latin), GetParam().latin);
  EXPECT_EQ(words(counts, Script::han), GetParam().han);
  EXPECT_EQ(counts.total() - words(counts, Script::latin) - words(counts, Script::han),
            GetParam().other);
}

INSTANTIATE_TEST_SUITE_P(
    Words, CountWords,
    testing::Values(
        Row{"Empty", "", 0, 0, 0}, Row{"Plain", "So it is four.", 4, 0, 0},
        Row{"Han", "我们先算。", 0, 4, 0}, Row{"HanBesideLatin", "用Python写code", 2, 2, 0},
        Row{"Fullwidth", "Ｓｏ it is", 3, 0, 0}, Row{"LoneLettersAreSymbols", "x + y = π", 0, 0, 0},
        Row{"FunctionNames", "sin Log MAX 的", 0, 1, 0}, Row{"DeltaX", "Δx of", 1, 0, 0},
        Row{"Kana", "ひらがなカナー", 0, 0, 6}, Row{"KoreanParticle", "Python을 쓴다", 1, 0, 2},
        Row{"Thai", "ภาษาไทย", 0, 0, 1}, Row{"CombiningMarks", "cafe\u0301 nai\u0308ve", 2, 0, 0},
        Row{"Digits", "3rd 10km x1", 2, 0, 0}, Row{"OtherScript", "ᚠᚢᚦ", 0, 0, 1}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    LeftOut, CountWords,
    testing::Values(Row{"InlineMath", "so $abc + def$ is", 2, 0, 0},
                    Row{"DisplayMath", "so $$abc\n\n def$$ is", 2, 0, 0},
                    Row{"Prices", "It costs $5 and then $6 more", 5, 0, 0},
                    Row{"PriceBeforeMath", "It costs $5 if $ab$ is", 4, 0, 0},
                    Row{"UnclosedMath", "so $abc def", 3, 0, 0},
                    Row{"Parentheses", R"(so \(abc\) is)", 2, 0, 0},
                    Row{"Brackets", R"(so \[abc def\] is)", 2, 0, 0},
                    Row{"UnclosedBracket", R"(so \[abc def)", 3, 0, 0},
                    Row{"Environment", R"(so \begin{align} abc \end{align} is)", 2, 0, 0},
                    Row{"Nested", R"(so \begin{a} \begin{b} abc \end{b} def \end{a} is)", 2, 0, 0},
                    Row{"UnclosedEnvironment", R"(so \begin{a} abc)", 2, 0, 0},
                    Row{"Commands", R"(\frac{a}{b} \, \alpha \\ \text{metres})", 1, 0, 0},
                    Row{"Code", "so `abc def` is ``a ` bcd``", 2, 0, 0},
                    Row{"Fence", "so\n```python\nabc = def\n```\nis", 2, 0, 0},
                    Row{"OpenFence", "so\n```python\nabc", 1, 0, 0},
                    Row{"Links", "see https://ab.cd/ef?gh=1 or www.ab.cd。这", 2, 1, 0},
                    Row{"NoLink", "www http who", 3, 0, 0},
                    Row{"Tags", "<b>so</b> <|im_end|> is", 2, 0, 0},
                    Row{"LessThan", "so 1 < two and three > 2", 4, 0, 0}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(Disguised, CountWords,
                         testing::Values(Row{"CyrillicA", "w\u0430it", 0, 0, 1},
                                         Row{"GreekO", "f\u03BFur", 0, 0, 1},
                                         Row{"ZeroWidthSpace", "wa\u200Bit so", 1, 0, 1},
                                         Row{"InFront", "so \u202Ewait", 1, 0, 1},
                                         Row{"SoftHyphen", "wa\u00ADit", 0, 0, 1},
                                         Row{"BeforeBlank", "so \u200B wait", 2, 0, 0},
                                         Row{"BetweenHan", "我\u200B们", 0, 1, 1},
                                         Row{"PersianJoiner", "می\u200Cخواهم", 0, 0, 1},
                                         Row{"LoneLetter", "\u200Bx", 0, 0, 1}),
                         [](const auto& test) { return test.param.name; });

TEST(CountWords, CountsPersianAndHebrewSpellingAsPlain) {
  EXPECT_EQ(count_words("می\u200Cخواهم \u200Fשלום", kAll).disguised, 0u);
  EXPECT_EQ(count_words("wa\u200Cit", kAll).disguised, 1u);
}

struct Share {
  const char* name;
  std::string_view language, text;
  double share;
};

class LanguageShare : public testing::TestWithParam<Share> {};

TEST_P(LanguageShare, IsTheShareOfWords) {
  const auto share =
      language_share(GetParam().text, *r1::find_language(GetParam().language), {.min_words = 1});
  ASSERT_TRUE(share.has_value());
  EXPECT_DOUBLE_EQ(*share, GetParam().share);
}

INSTANTIATE_TEST_SUITE_P(Shares, LanguageShare,
                         testing::Values(Share{"English", "en", "First add the two numbers.", 1},
                                         Share{"Mixed", "en", "First 我们 add", 0.5},
                                         Share{"Chinese", "zh", "先 add 两个数", 0.8},
                                         Share{"Thinking", "en", "我们<think>so it is</think>四",
                                               1},
                                         Share{"TemplateOpened", "zh", "我们</think>so it is", 1},
                                         Share{"Unclosed", "zh", "so it <think>我们", 1},
                                         Share{"Japanese", "ja", "数を足します", 1},
                                         Share{"ChineseIsNotJapanese", "ja", "我们先算", 0},
                                         Share{"JapaneseIsNotChinese", "zh", "数を足す", 0.5},
                                         Share{"Korean", "ko", "먼저 더한다", 1},
                                         Share{"HanIsNotKorean", "ko", "먼저 我们", 1.0 / 3},
                                         Share{"Russian", "ru", "и так далее", 1},
                                         Share{"Homoglyph", "en", "so w\u0430it", 0.5},
                                         Share{"Greek", "el", "άρα είναι", 1}),
                         [](const auto& test) { return test.param.name; });

TEST(CountWords, CountsTheSameWordsWithFunctionWords) {
  r1::LanguageOptions options = kAll;
  options.function_words = true;
  const auto counts = count_words("Min is The sum", options);
  EXPECT_EQ(counts.words, count_words("Min is The sum", kAll).words);
  EXPECT_EQ(counts.any_function_words, 2u);
}

TEST(LanguageShare, SaysNothingOfAFewWords) {
  const auto& english = *r1::find_language("en");
  EXPECT_FALSE(language_share("one two three four five six seven", english, {}));
  EXPECT_TRUE(language_share("one two three four five six seven eight", english, {}));
  EXPECT_FALSE(language_share("1 + 1 = 2", english, {.min_words = 0}));
}

TEST(LanguageShare, TellsLatinLanguagesApartByFunctionWords) {
  const LanguageOptions options = {.function_words = true};
  const struct {
    std::string_view language, text;
  } texts[] = {
      {"en", "First we add the two numbers, and then the sum is what we have to divide by it."},
      {"fr", "Nous avons donc une somme qui est le double, et le reste n'est pas dans la liste."},
      {"de", "Wir addieren die Zahlen und dann ist das Ergebnis nicht mit der Summe gleich."},
      {"es", "Entonces el total de los números es la suma, pero no más que el doble de una parte."},
      {"it",
       "Quindi la somma di questo numero non sono che il doppio della parte, come per gli altri."},
      {"pt", "Então a soma dos números não é um valor que os outros são, mas isso é uma parte."},
      {"nl", "Het antwoord is dus niet een van de getallen, maar dat zijn we ook aan het tellen."},
  };
  for (const auto& [written, text] : texts) {
    for (const auto& [asked, other] : texts) {
      const double share = language_share(text, *r1::find_language(asked), options).value();
      if (asked == written) {
        EXPECT_GT(share, 0.8) << written;
      } else {
        EXPECT_LT(share, 0.65) << written << " as " << asked;
      }
      EXPECT_EQ(language_share(text, *r1::find_language(asked), {}), 1.0);
    }
  }
}

TEST(FindLanguage, KnowsItsOwnCodes) {
  std::size_t known = 0;
  const std::string_view codes = r1::language_codes();
  for (std::size_t at = 0; at < codes.size(); at += 3) {
    known += r1::find_language(codes.substr(at, 2)) != nullptr;
  }
  EXPECT_EQ(known, (codes.size() + 1) / 3);
  EXPECT_EQ(r1::find_language("xx"), nullptr);
  EXPECT_EQ(r1::find_language(""), nullptr);
}

TEST(DecodeUtf8, ReadsAnyBytes) {
  EXPECT_EQ(r1::decode_utf8("\xE4\xBD\xA0", 0).code, U'你');
  EXPECT_EQ(r1::decode_utf8("\xF0\x9F\x98\x80", 0).code, U'😀');
  EXPECT_EQ(r1::decode_utf8("\xED\xA0\x80", 0).code, char32_t{0xD800});
  for (const std::string_view broken :
       {"\x80", "\xC0\x80", "\xE4\xBD", "\xE0\x80\x80", "\xF4\x90\x80\x80", "\xFF", "\xE4zz"}) {
    EXPECT_EQ(r1::decode_utf8(broken, 0).code, char32_t{0xFFFD});
    EXPECT_EQ(r1::decode_utf8(broken, 0).size, 1u);
  }
}

TEST(CountWords, TakesLinearTimeOnOpeningsThatNeverClose) {
  for (const std::string_view piece : {"$a ", "$$", "\\(", "\\[", "\\begin{a}", "\\end{a}", "`",
                                       "` `` ", "```", "<a ", "<", "h", "\\"}) {
    std::string text;
    while (text.size() < 1'000'000) text += piece;
    text += "\\begin{x} \\end{x} the end";
    EXPECT_LE(count_words(text, kAll).total(), text.size());
  }
}

}  // namespace
