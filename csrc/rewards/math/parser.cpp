#include "csrc/rewards/math/parser.h"

#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/words.h"

namespace r1::math {
namespace {

using Text = std::string_view;

}  // namespace

Id Parser::run() {
  const auto announces = [&] {  // "= 5", "about 5", "The answer is: 5"
    const bool words = peek().kind == Lexeme::word || peek().kind == Lexeme::words;
    return at_sign("=") || at_command("approx") || at_sign(":") ||
           (words && peek(1).kind != Lexeme::end && is_filler(peek().text));
  };
  while (announces()) ++at_;
  const bool negative = take_word("minus") || take_word("negative");
  Id value = alternatives();
  if (negative) value = terms_.negate(value);
  while (at_sign(".") || at_sign(",") || at_sign(";") || at_sign("!") || at_command("\\")) ++at_;
  return at_end() && !terms_.budget.is_over() ? value : kNone;
}

bool Parser::at_connective() const {
  return at(Lexeme::word, "and") || at(Lexeme::words, "and") || at(Lexeme::word, "or") ||
         at(Lexeme::words, "or") || at_command("land") || at_command("wedge") ||
         at_command("lor") || at_command("vee") || at_sign("&") || at_sign(",") || at_sign(";");
}

Id Parser::alternatives() {
  const Depth depth(*this);
  if (terms_.budget.is_over()) return kNone;
  std::vector<Id> parts = {list()};
  while (parts.back() != kNone && (take_word("or") || take_command("lor") || take_command("vee"))) {
    parts.push_back(list());
  }
  if (parts.back() == kNone) return kNone;
  return parts.size() == 1 ? parts[0] : terms_.make(Op::any_of, 0, parts);
}

Id Parser::list() {
  std::vector<Id> parts = {relation()};
  bool conjunction = false;
  while (parts.back() != kNone) {
    const std::size_t before = at_;
    const bool comma = take_sign(",") || take_sign(";");
    while (comma && (take_command("\\") || take_sign(","))) {
    }
    if (parts.size() == 1 && take_integers()) break;
    if (at_range()) {
      ++at_;
      parts.push_back(relation());
      continue;
    }
    const bool both = take_word("and") || take_command("land") || take_command("wedge") ||
                      (take_sign("&") && !at_sign("&"));
    if (comma && !both && (at_end() || at_word("or"))) {
      if (!at_word("or")) at_ = before;
      break;
    }
    if (!comma && !both) break;
    conjunction |= both;
    parts.push_back(relation());
  }
  if (parts.back() == kNone) return kNone;
  if (range_of_parameter(parts)) parts.pop_back();
  if (parts.size() == 1) return parts[0];
  const bool conditions =
      conjunction && std::any_of(parts.begin(), parts.end(), [&](Id part) {
        return (terms_.is(part, Op::relation) && terms_.relation(part) != Relation::equal) ||
               terms_.is(part, Op::all_of);
      });
  return terms_.make(conditions ? Op::all_of : Op::list, 0, parts);
}

/// "where k \in ..."
bool Parser::at_range() const {
  const bool word = at_word("where") || at_word("for") || at_word("with") || at_word("for all") ||
                    at_word("for any");
  return word && peek(1).kind == Lexeme::word && at_command("in", 2);
}

/// Takes what says of a parameter that it is a whole number: "where k is an integer".
bool Parser::take_integers() {
  bool integers = false;
  for (std::size_t ahead = 0;; ++ahead) {
    const Token& token = peek(ahead);
    if (token.kind == Lexeme::end) return integers && (at_ += ahead, true);
    if (token.kind == Lexeme::sign && token.text == ".") continue;
    if (token.kind != Lexeme::word && token.kind != Lexeme::words) return false;
    integers |= token.text.find("integer") != Text::npos;
  }
}

/// Whether the last of several parts says where a parameter of the others lies: 2k, k \in
/// \mathbb{Z}.
bool Parser::range_of_parameter(const std::vector<Id>& parts) const {
  const Id last = parts.back();
  if (parts.size() < 2 || !terms_.is(last, Op::relation) || terms_.relation(last) != Relation::in)
    return false;
  const Id parameter = terms_.child(last, 0);
  return terms_.is(parameter, Op::symbol) &&
         std::any_of(parts.begin(), parts.end() - 1, [&](Id part) {
           const auto symbols = terms_.symbols(part);
           return std::find(symbols.begin(), symbols.end(), parameter) != symbols.end();
         });
}

}  // namespace r1::math
