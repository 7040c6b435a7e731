#include "csrc/rewards/number.h"

#include <gtest/gtest.h>

#include <string>

namespace {

using r1::Equality;

class Unreadable : public testing::TestWithParam<const char*> {};

TEST_P(Unreadable, IsNoNumber) { EXPECT_FALSE(r1::parse_number(GetParam())); }
INSTANTIATE_TEST_SUITE_P(Texts, Unreadable,
                         testing::Values("", " ", ".", "-", "$", "abc", "x = 4", "4 5", "1,23",
                                         "1,2345", "12,34", "1234,567", "1..2", "1.2.3", "--1",
                                         "1/0", "1/", "/2", "\\frac{1}{0}", "\\frac{1}", "\\frac1",
                                         "1e5", "4 apples", "4%%", "0x10", "{4", "\xff\xfe"));

struct Pair {
  const char* left;
  const char* right;
  Equality expected;
};

Equality compare(std::string_view left, std::string_view right) {
  const auto a = r1::parse_number(left), b = r1::parse_number(right);
  EXPECT_TRUE(a) << left;
  EXPECT_TRUE(b) << right;
  return a && b ? r1::compare(*a, *b) : Equality::over_limit;
}

class Compare : public testing::TestWithParam<Pair> {};

TEST_P(Compare, IsExactAndSymmetric) {
  const auto& [left, right, expected] = GetParam();
  EXPECT_EQ(compare(left, right), expected) << left << " and " << right;
  EXPECT_EQ(compare(right, left), expected) << right << " and " << left;
}
constexpr Equality kSame = Equality::equal, kDifferent = Equality::different;
INSTANTIATE_TEST_SUITE_P(
    Equal, Compare,
    testing::Values(Pair{"4", "4.0", kSame}, Pair{"04", "4.", kSame}, Pair{"+4", "4", kSame},
                    Pair{"-0", "0", kSame}, Pair{".5", "1/2", kSame}, Pair{"2/4", "1/2", kSame},
                    Pair{"\\frac{1}{2}", "0.50", kSame}, Pair{"\\dfrac12", "0.5", kSame},
                    Pair{"\\frac{-1}{2}", "-1/2", kSame}, Pair{"-\\frac{1}{-2}", "0.5", kSame},
                    Pair{"\u22124", "-4", kSame}, Pair{"1,234,567", "1234567", kSame},
                    Pair{"1{,}234", "1234", kSame}, Pair{"$1,200.50", "1200.5", kSame},
                    Pair{"-$5", "$-5", kSame}, Pair{"\\$12", "12", kSame},
                    Pair{"$12$", "12", kSame}, Pair{"\\(12\\)", "**12**.", kSame},
                    Pair{"45%", "0.45", kSame}, Pair{"45\\%", "45", kSame},
                    Pair{"45%", "45.0%", kSame}, Pair{"0.3/0.9", "1/3", kSame},
                    Pair{"1000000000000000000000", "1,000,000,000,000,000,000,000", kSame}));
INSTANTIATE_TEST_SUITE_P(Different, Compare,
                         testing::Values(Pair{"4", "-4", kDifferent}, Pair{"4", "40", kDifferent},
                                         Pair{"4", "0.4", kDifferent}, Pair{"0", "1", kDifferent},
                                         Pair{"0.333333", "1/3", kDifferent},
                                         Pair{"1/2", "1/3", kDifferent},
                                         Pair{"45%", "4500", kDifferent},
                                         Pair{"5", "500", kDifferent},
                                         Pair{"18446744073709551617", "1", kDifferent},
                                         Pair{"9007199254740993", "9007199254740992", kDifferent}));

TEST(Compare, IsExactOnAMillionDigits) {
  const std::string digits(1'000'000, '7');
  EXPECT_EQ(compare(digits, digits + ".000"), Equality::equal);
  EXPECT_EQ(compare(digits + "1", digits + "2"), Equality::different);
}

TEST(Compare, MultipliesLongFractionsOut) {
  const std::string nines(2000, '9');
  EXPECT_EQ(compare(nines + "/3", std::string(2000, '3')), Equality::equal);
  EXPECT_EQ(compare(nines + "/" + nines, "1"), Equality::equal);
  EXPECT_EQ(compare(nines + "/3", std::string(1999, '3') + "4"), Equality::different);
}

TEST(Compare, GivesUpOnFractionsBeyondTheLimit) {
  const std::string digits(r1::kMaxFactorDigits + 1, '7');
  EXPECT_EQ(compare(digits + "/3", "1"), Equality::over_limit);
  EXPECT_EQ(compare("1", digits + "/3"), Equality::over_limit);
}

}  // namespace
