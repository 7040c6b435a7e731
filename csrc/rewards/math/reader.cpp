#include "csrc/rewards/math/reader.h"

#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/parser.h"
#include "csrc/rewards/math/spelling.h"
#include "csrc/rewards/math/words.h"
#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

using Text = std::string_view;

bool peel(Text& text, Text open, Text close) {
  if (text.size() < open.size() + close.size() || !text.starts_with(open) || !text.ends_with(close))
    return false;
  text = trim(text.substr(open.size(), text.size() - open.size() - close.size()));
  return true;
}

std::optional<int> take_number(Text& text) {
  std::size_t size = 0;
  while (size < text.size() && size < 2 && is_digit(text[size])) ++size;
  if (size == 0) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(0, size)) value = value * 10 + (c - '0');
  text.remove_prefix(size);
  return value;
}

/// "4:30 p.m.", "11 AM", from folded words: the punctuation is gone but the colon.
Id read_clock(Terms& terms, Text text) {
  std::string plain;
  for (const char c : text) {
    if (c == ':') plain.push_back(c);
    if (is_digit(c) || is_letter(c)) plain.push_back(to_lower(c));
    if (!is_digit(c) && !is_letter(c) && Text(": .\\{}~").find(c) == Text::npos) return kNone;
  }
  Text rest = plain;
  if (rest.starts_with("text")) rest.remove_prefix(4);
  const auto hours = take_number(rest);
  int minutes = 0;
  if (hours && rest.starts_with(':')) {
    rest.remove_prefix(1);
    const auto found = take_number(rest);
    if (!found) return kNone;
    minutes = *found;
  }
  for (const Text wrapper : {"text", "mathrm", "textrm", "mbox"}) {
    if (rest.starts_with(wrapper)) rest.remove_prefix(wrapper.size());
  }
  if (!hours || *hours > 12 || minutes > 59 || (rest != "am" && rest != "pm")) return kNone;
  const int total = (*hours % 12) * 60 + minutes + (rest == "pm" ? 720 : 0);
  return terms.make(Op::clock, 1, std::array{terms.integer(total)});
}

/// Words that stand for mathematics.
Id read_words(Terms& terms, Text words) {
  static constexpr auto kEverything =
      std::to_array<Text>({"all real numbers", "real numbers", "all reals", "all real x"});
  static constexpr auto kNothing =
      std::to_array<Text>({"no solution", "no solutions", "no real solution", "no real solutions",
                           "empty set", "there are no solutions"});
  if (const auto number = number_in_words(words)) return terms.number(*number);
  if (std::find(kEverything.begin(), kEverything.end(), words) != kEverything.end()) {
    return terms.make(Op::number_set, 0, {}, "R");
  }
  if (std::find(kNothing.begin(), kNothing.end(), words) != kNothing.end())
    return terms.make(Op::number_set, 0, {});
  return kNone;
}

/// Whether a text may be an answer in words: letters, and nothing that only formulas have.
bool may_be_words(Text latex, Text words) {
  const bool letters = std::any_of(words.begin(), words.end(),
                                   [](char c) { return is_letter(c) || (c & 0x80) != 0; });
  if (!letters) return false;
  for (std::size_t at = 0; at < latex.size(); ++at) {
    const char c = latex[at];
    if (c == '\\') {
      std::size_t end = at + 1;
      while (end < latex.size() && is_letter(latex[end])) ++end;
      const Text name = latex.substr(at + 1, end - at - 1);
      const bool layout = name.empty() || name.starts_with("text") || name.starts_with("math") ||
                          name == "mbox" || name == "quad" || name == "rm" || name == "bf" ||
                          name == "operatorname" || name == "boxed";
      if (!layout) return false;
      at = name.empty() ? end : end - 1;
    } else if (Text("^=<>|+*_").find(c) != Text::npos) {
      return false;
    } else if (static_cast<unsigned char>(c) < 32 && !is_space(c)) {
      return false;
    }
  }
  return true;
}

}  // namespace

Text strip_answer(Text text) {
  for (bool changed = true; changed;) {
    text = trim(text);
    const std::size_t before = text.size();
    if (text.ends_with('.') && !text.ends_with("..") && !text.ends_with("m."))
      text.remove_suffix(1);
    if (text.ends_with('\\')) text.remove_suffix(1);            // "5\."
    if (text.ends_with("\xe3\x80\x82")) text.remove_suffix(3);  // the Chinese full stop
    if (text.ends_with("\\\\")) text.remove_suffix(2);
    const bool starred = text.starts_with("**") && text.find("**", 2) == text.size() - 2;
    if (starred) peel(text, "**", "**");
    peel(text, "`", "`") || peel(text, "\"", "\"") || peel(text, "''", "''");
    changed = text.size() != before;
  }
  return text;
}

Readings read_answer(Terms& terms, Text text) {
  Readings readings;
  text = strip_answer(text);
  const std::string latex = to_latex(text);
  std::string words = fold_words(text);
  if (may_be_words(latex, words)) readings.words = words;
  const auto add = [&](Id id) {
    auto& found = readings.terms;
    if (id != kNone && std::find(found.begin(), found.end(), id) == found.end())
      found.push_back(id);
  };
  add(read_clock(terms, latex));
  if (!readings.words.empty()) add(read_words(terms, readings.words));
  const bool letter = readings.words.size() == 1 && latex.find("\\text") != latex.npos;
  if (letter) add(terms.text(readings.words));  // \text{a} is a choice, and may be a variable

  Lexer lexer;
  if (!lexer.run(latex)) return terms.budget.end(), readings;
  Ambiguity ambiguity;
  const auto parse = [&](Reading reading) {
    Parser parser(terms, lexer.tokens(), reading);
    add(parser.run());
    const Ambiguity& seen = parser.ambiguity();
    ambiguity.thousands |= seen.thousands;
    ambiguity.decimal |= seen.decimal;
    ambiguity.letter_units |= seen.letter_units;
    ambiguity.rounded |= seen.rounded;
  };
  using Commas = Reading::Commas;
  parse({});
  if (ambiguity.thousands) parse({.commas = Commas::list});
  if (ambiguity.decimal) parse({.commas = Commas::decimal});
  if (ambiguity.letter_units) parse({.letter_units = true});
  if (ambiguity.rounded) parse({.rounded = true});
  if (readings.terms.empty() && !readings.words.empty()) add(terms.text(readings.words));
  return readings;
}

}  // namespace r1::math
