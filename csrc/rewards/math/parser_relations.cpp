#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/parser.h"
#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

using Text = std::string_view;

struct RelationName {
  Text name;
  Relation relation;
};
constexpr auto kRelations = std::to_array<RelationName>({
    {"=", Relation::equal},
    {"==", Relation::equal},
    {"approx", Relation::equal},
    {"equiv", Relation::equal},
    {"simeq", Relation::equal},
    {"cong", Relation::equal},
    {"triangleq", Relation::equal},
    {"doteq", Relation::equal},
    {"<", Relation::less},
    {"lt", Relation::less},
    {">", Relation::greater},
    {"gt", Relation::greater},
    {"<=", Relation::less_equal},
    {"leq", Relation::less_equal},
    {"le", Relation::less_equal},
    {"leqslant", Relation::less_equal},
    {"leqq", Relation::less_equal},
    {">=", Relation::greater_equal},
    {"geq", Relation::greater_equal},
    {"ge", Relation::greater_equal},
    {"geqslant", Relation::greater_equal},
    {"geqq", Relation::greater_equal},
    {"!=", Relation::not_equal},
    {"neq", Relation::not_equal},
    {"ne", Relation::not_equal},
    {"in", Relation::in},
    {"sim", Relation::other},
    {"perp", Relation::other},
    {"parallel", Relation::other},
    {"subset", Relation::other},
    {"subseteq", Relation::other},
    {"to", Relation::other},
    {"rightarrow", Relation::other},
    {"Rightarrow", Relation::other},
    {"implies", Relation::other},
    {"propto", Relation::other},
    {"mapsto", Relation::other},
    {"notin", Relation::other},
    {"mid", Relation::other},
});

}  // namespace

std::optional<Relation> find_relation(const Token& token) {
  if (token.kind != Lexeme::sign && token.kind != Lexeme::command) return std::nullopt;
  for (const auto& [name, relation] : kRelations) {
    // "in", "to" and "le" are relations as commands, \in; signs are never letters.
    if (token.text == name && (token.kind == Lexeme::sign) != is_letter(name[0])) return relation;
  }
  return std::nullopt;
}

/// "at least", "more than": a relation in words.
std::optional<Relation> Parser::bound() {
  struct Bound {
    Text first, second;
    Relation relation;
  };
  static constexpr auto kBounds = std::to_array<Bound>({
      {"at", "least", Relation::greater_equal},
      {"at", "most", Relation::less_equal},
      {"more", "than", Relation::greater},
      {"greater", "than", Relation::greater},
      {"less", "than", Relation::less},
      {"fewer", "than", Relation::less},
  });
  for (const auto& [first, second, relation] : kBounds) {
    if (at(Lexeme::word, first) && at(Lexeme::word, second, 1)) return at_ += 2, relation;
    const Token& token = peek();
    const bool both = token.kind == Lexeme::words &&
                      token.text.size() == first.size() + 1 + second.size() &&
                      token.text.starts_with(first) && token.text.ends_with(second);
    if (both) return ++at_, relation;
  }
  return std::nullopt;
}

Id Parser::relation() {
  std::vector<Id> chain;
  Id left = kNone;
  // "\ge 5" and "at least 5" leave out what is at least five.
  if (const auto relation = bound()) {
    return terms_.relation(*relation, terms_.symbol("?"), sets());
  } else if (at_ == 0 && find_relation(peek())) {
    left = terms_.symbol("?");
  } else {
    left = sets();
  }
  while (left != kNone) {
    if (at_sign("&") && find_relation(peek(1))) ++at_;  // aligned there
    const auto found = find_relation(peek());
    if (!found || (at_command("mid") && bars_ < 0)) break;
    const bool approximate = (at_command("approx") || at_command("simeq")) && terms_[left].closed &&
                             terms_[left].op <= Op::based;
    ++at_;
    const Id right = sets();
    if (right == kNone) return kNone;
    if (approximate) {  // one value, written twice
      ambiguity_.rounded = true;
      if (!reading_.rounded) continue;
      if (!chain.empty())
        chain.back() =
            terms_.relation(terms_.relation(chain.back()), terms_.child(chain.back(), 0), right);
    } else {
      chain.push_back(terms_.relation(*found, left, right));
    }
    left = right;
  }
  if (left == kNone) return kNone;
  if (chain.empty()) return left;
  return chain.size() == 1 ? chain[0] : terms_.make(Op::all_of, 1, chain);
}

Id Parser::sets() {
  Id left = ratio();
  while (left != kNone) {
    const bool letter = at(Lexeme::word, "U") && at_ > 0 &&
                        (tokens_[at_ - 1].text == ")" || tokens_[at_ - 1].text == "]") &&
                        (at_sign("(", 1) || at_sign("[", 1));
    Op op;
    if (at_command("cup") || at_command("bigcup") || letter) {
      op = Op::set_union;
    } else if (at_command("cap") || at_command("bigcap")) {
      op = Op::set_intersection;
    } else if (at_command("setminus") || at_command("backslash")) {
      op = Op::set_difference;
    } else {
      break;
    }
    ++at_;
    left = terms_.make(op, 0, std::array{left, ratio()});
  }
  return left;
}

Id Parser::ratio() {
  std::vector<Id> parts = {with_unit(additive())};
  while (parts.back() != kNone && bars_ >= 0 && (at_sign(":") || at_word("to")) &&
         !at_sign("=", 1)) {
    ++at_;
    parts.push_back(with_unit(additive()));
  }
  if (parts.back() == kNone) return kNone;
  return parts.size() == 1 ? parts[0] : terms_.make(Op::ratio, 0, parts);
}

}  // namespace r1::math
