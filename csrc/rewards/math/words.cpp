#include "csrc/rewards/math/words.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

using Text = std::string_view;

struct NumberWord {
  Text word;
  std::int64_t value;
};
constexpr auto kSmall = std::to_array<NumberWord>({
    {"zero", 0},     {"one", 1},      {"two", 2},        {"three", 3},     {"four", 4},
    {"five", 5},     {"six", 6},      {"seven", 7},      {"eight", 8},     {"nine", 9},
    {"ten", 10},     {"eleven", 11},  {"twelve", 12},    {"thirteen", 13}, {"fourteen", 14},
    {"fifteen", 15}, {"sixteen", 16}, {"seventeen", 17}, {"eighteen", 18}, {"nineteen", 19},
    {"twenty", 20},  {"thirty", 30},  {"forty", 40},     {"fifty", 50},    {"sixty", 60},
    {"seventy", 70}, {"eighty", 80},  {"ninety", 90},
});
constexpr auto kPowers = std::to_array<NumberWord>({
    {"thousand", 1'000},
    {"million", 1'000'000},
    {"billion", 1'000'000'000},
    {"trillion", 1'000'000'000'000},
});
constexpr auto kParts = std::to_array<NumberWord>({
    {"half", 2},
    {"halve", 2},
    {"third", 3},
    {"quarter", 4},
    {"fourth", 4},
    {"fifth", 5},
    {"sixth", 6},
    {"seventh", 7},
    {"eighth", 8},
    {"ninth", 9},
    {"tenth", 10},
    {"hundredth", 100},
    {"thousandth", 1'000},
});

template <std::size_t N>
std::optional<std::int64_t> find(const std::array<NumberWord, N>& words, Text word) {
  const auto* found = std::find_if(words.begin(), words.end(),
                                   [&](const auto& entry) { return entry.word == word; });
  return found == words.end() ? std::nullopt : std::optional(found->value);
}

template <std::size_t N>
bool contains(const std::array<Text, N>& words, Text word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string> words_of(Text text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const char c : text) {
    const bool letter = is_letter(c) || (c & 0x80) != 0;
    if (letter && !inside) words.emplace_back();
    if (letter) words.back().push_back(to_lower(c));
    inside = letter;
  }
  return words;
}

Text singular(Text word) { return word.ends_with('s') ? word.substr(0, word.size() - 1) : word; }

/// "five hundred and two thousand": below a thousand in `current`, whole thousands in `total`.
class WholeNumber {
 public:
  bool take(Text word) {
    if (const auto small = find(kSmall, word)) {
      const bool unit = *small < 10;
      if (count_ > 0 && current_ % (unit ? 10 : 100) != 0) return false;
      if (unit && count_ > 0 && current_ % 100 == 10) return false;
      if (*small == 0 && count_ > 0) return false;
      current_ += *small;
    } else if (word == "hundred") {
      if (current_ >= 100) return false;
      current_ = std::max<std::int64_t>(current_, 1) * 100;
    } else if (const auto power = find(kPowers, word)) {
      if (*power >= least_) return false;  // million thousand
      total_ += std::max<std::int64_t>(current_, 1) * *power;
      current_ = 0;
      least_ = *power;
    } else {
      return false;
    }
    return ++count_, true;
  }
  int count() const { return count_; }
  std::int64_t value() const { return total_ + current_; }

 private:
  std::int64_t total_ = 0, current_ = 0, least_ = 1'000'000'000'000'000;
  int count_ = 0;
};

}  // namespace

std::optional<Rational> number_in_words(Text text) {
  if (text.size() > 120) return std::nullopt;
  const std::vector<std::string> words = words_of(text);
  std::size_t at = 0;
  const bool negative = !words.empty() && (words[0] == "minus" || words[0] == "negative");
  if (negative) ++at;
  WholeNumber whole;
  std::size_t joined = 0;  // "and" between the parts of a number, not around it
  for (; at < words.size(); ++at) {
    if (words[at] == "and" && whole.count() > 0 && at + 1 < words.size()) {
      joined = at;
    } else if (!whole.take(words[at])) {
      break;
    }
  }
  Rational value = whole.value();
  const auto sign = [&] { return negative ? Rational(-value) : value; };
  if (at == words.size()) return whole.count() > 0 ? std::optional(sign()) : std::nullopt;
  const bool added = joined > 0 && joined + 1 == at;  // two and a half, two and one half
  if (joined > 0 && !added) return std::nullopt;
  if (added && (words[at] == "a" || words[at] == "one")) ++at;
  if (at + 1 != words.size()) return std::nullopt;
  const auto part = find(kParts, singular(words[at]));
  if (!part || (whole.count() == 0 && words[at] != "half")) return std::nullopt;
  if (added) {
    value += Rational(1) / *part;
  } else {
    value = Rational(std::max<std::int64_t>(whole.value(), whole.count() == 0)) / *part;
  }
  return sign();
}

std::optional<Scale> scale_of_word(Text text) {
  std::string word(text);
  std::transform(word.begin(), word.end(), word.begin(), to_lower);
  if (word == "dozen" || word == "dozens") return Scale{12, 1};
  if (word == "hundred") return Scale{100, 1};
  if (const auto power = find(kPowers, word)) return Scale{*power, 1};
  // "3 quarters" may be coins, "the 3 third" an order.
  if (!word.ends_with('s') || word == "quarters") return std::nullopt;
  const auto part = find(kParts, singular(word));
  return part ? std::optional(Scale{1, *part}) : std::nullopt;
}

bool is_filler(Text text) {
  static constexpr auto kFillers = std::to_array<Text>(
      {"the",    "answer",  "final", "result", "value",         "is",     "are",
       "equals", "about",   "total", "of",     "approximately", "approx", "roughly",
       "around", "exactly", "just",  "only",   "thus",          "so",     "therefore",
       "hence",  "there",   "we",    "get",    "have",          "nearly"});
  const std::vector<std::string> words = words_of(text);
  return !words.empty() && std::all_of(words.begin(), words.end(), [](const std::string& word) {
    return contains(kFillers, Text(word));
  });
}

bool is_denial(Text text) {
  static constexpr auto kDenials =
      std::to_array<Text>({"or", "nor", "not", "no", "none", "never", "undefined", "impossible",
                           "unless", "except", "if"});
  const std::vector<std::string> words = words_of(text);
  return std::any_of(words.begin(), words.end(),
                     [](const std::string& word) { return contains(kDenials, Text(word)); });
}

}  // namespace r1::math
