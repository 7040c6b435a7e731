#include "csrc/rewards/repetition.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

namespace {

using r1::Loop;
using Tokens = std::vector<std::uint64_t>;

struct Split {
  const char* name;
  std::string_view text;
  std::vector<int> words;  // equal numbers are equal words
};

class WordHashes : public testing::TestWithParam<Split> {};

TEST_P(WordHashes, AreEqualWhereTheWordsAre) {
  const Tokens hashes = r1::word_hashes(GetParam().text);
  const auto& words = GetParam().words;
  ASSERT_EQ(hashes.size(), words.size());
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (std::size_t j = 0; j < words.size(); ++j) {
      EXPECT_EQ(hashes[i] == hashes[j], words[i] == words[j]) << i << " " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Words, WordHashes,
                         testing::Values(Split{"Empty", "", {}}, Split{"Blanks", " \n\t\u3000", {}},
                                         Split{"Plain", " wait, wait wait,\n", {1, 2, 1}},
                                         Split{"CaseDiffers", "Wait wait", {1, 2}},
                                         Split{"Chinese", "等等，等", {1, 1, 2, 1}},
                                         Split{"ChineseBesideLatin", "用py用", {1, 2, 1}},
                                         Split{"ThaiLettersWithMarks", "ก้กก้", {1, 2, 1}},
                                         Split{"NoBreakSpace", "a\u00A0a", {1, 1}},
                                         Split{
                                             "BrokenBytes", "\xFF \xFE \xFF \uFFFD", {1, 2, 1, 3}}),
                         [](const auto& test) { return test.param.name; });

TEST(RepeatedNgramShare, CountsNgramsThatStoodBefore) {
  EXPECT_EQ(r1::repeated_ngram_share({}, 3), 0);
  EXPECT_EQ(r1::repeated_ngram_share(Tokens{1, 1}, 3), 0);
  EXPECT_EQ(r1::repeated_ngram_share(Tokens{1, 1, 1}, 3), 0);
  EXPECT_EQ(r1::repeated_ngram_share(Tokens{5, 5, 5, 5, 5}, 2), 0.75);
  EXPECT_EQ(r1::repeated_ngram_share(Tokens{1, 2, 1, 2, 1}, 2), 0.5);
  EXPECT_EQ(r1::repeated_ngram_share(Tokens{1, 2, 1}, 1), 1 - 2.0 / 3);
  Tokens distinct(100'000);
  std::iota(distinct.begin(), distinct.end(), 0);
  EXPECT_EQ(r1::repeated_ngram_share(distinct, 3), 0);
}

struct Ending {
  const char* name;
  std::string_view text;
  std::size_t length, period;
};

class FindLoop : public testing::TestWithParam<Ending> {};

TEST_P(FindLoop, FindsTheLongestPeriodicSuffix) {
  const Loop loop = r1::find_loop(r1::code_points(GetParam().text),
                                  {.max_period = 256, .min_repeats = 3, .min_length = 6});
  EXPECT_EQ(loop.length, GetParam().length);
  EXPECT_EQ(loop.period, GetParam().period);
}

INSTANTIATE_TEST_SUITE_P(Endings, FindLoop,
                         testing::Values(Ending{"Empty", "", 0, 0},
                                         Ending{"None", "so it is four", 0, 0},
                                         Ending{"Wait", "so wait wait wait ", 16, 5},
                                         Ending{"CutOff", "so wait wait wait wa", 18, 5},
                                         Ending{"TwiceOnly", "so wait wait ", 0, 0},
                                         Ending{"Short", "0000", 0, 0},
                                         Ending{"OneLetter", "so 000000", 6, 1},
                                         Ending{"CameOutOfIt", "000000 so", 0, 0},
                                         Ending{"Chinese", "所以等等等等等等", 6, 1}),
                         [](const auto& test) { return test.param.name; });

TEST(FindLoop, IgnoresUnitsLongerThanAsked) {
  const Tokens tokens = {1, 2, 3, 1, 2, 3, 1, 2, 3};
  EXPECT_EQ(r1::find_loop(tokens, {.max_period = 3, .min_repeats = 3, .min_length = 1}).length, 9u);
  EXPECT_EQ(r1::find_loop(tokens, {.max_period = 2, .min_repeats = 3, .min_length = 1}).length, 0u);
}

}  // namespace
