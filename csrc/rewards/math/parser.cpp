#include "csrc/rewards/math/parser.h"

#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/units.h"
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

std::optional<Relation> find_relation(const Token& token) {
  if (token.kind != Lexeme::sign && token.kind != Lexeme::command) return std::nullopt;
  for (const auto& [name, relation] : kRelations) {
    // "in", "to" and "le" are relations as commands, \in; signs are never letters.
    if (token.text == name && (token.kind == Lexeme::sign) != is_letter(name[0])) return relation;
  }
  return std::nullopt;
}

std::optional<Text> currency_of(const Token& token) {
  if (token.kind != Lexeme::command) return std::nullopt;
  if (token.text == "$") return "dollar^1 ";
  if (token.text == "euro") return "euro^1 ";
  if (token.text == "pounds") return "sterling^1 ";
  if (token.text == "yen") return "yen^1 ";
  return std::nullopt;
}

/// Ends a recursion that is too deep; the parser then unwinds with kNone.
class Depth {
 public:
  Depth(int& depth, int limit, Budget& budget) : depth_(depth) {
    if (++depth_ > limit) budget.end();
    budget.spend(20);
  }
  ~Depth() { --depth_; }

 private:
  int& depth_;
};

}  // namespace

Id Parser::run() {
  while (at_sign("=") || at_command("approx") || at_sign(":")) ++at_;  // "= 5"
  const Id value = alternatives();
  while (at_sign(".") || at_sign(",") || at_sign(";") || at_sign("!") || at_command("\\")) ++at_;
  return at_end() && !terms_.budget.is_over() ? value : kNone;
}

bool Parser::at_connective() const {
  return at(Lexeme::word, "and") || at(Lexeme::words, "and") || at(Lexeme::word, "or") ||
         at(Lexeme::words, "or") || at_command("land") || at_command("wedge") ||
         at_command("lor") || at_command("vee") || at_sign("&") || at_sign(",") || at_sign(";");
}

Id Parser::alternatives() {
  const Depth depth(depth_, kMaxDepth, terms_.budget);
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
  if (parts.size() == 1) return parts[0];
  const bool conditions =
      conjunction && std::any_of(parts.begin(), parts.end(), [&](Id part) {
        return (terms_.is(part, Op::relation) && terms_.relation(part) != Relation::equal) ||
               terms_.is(part, Op::all_of);
      });
  return terms_.make(conditions ? Op::all_of : Op::list, 0, parts);
}

Id Parser::relation() {
  // "\ge 5" leaves out what is at least five.
  Id left = at_ == 0 && find_relation(peek()) ? terms_.symbol("?") : sets();
  std::vector<Id> chain;
  while (left != kNone) {
    const auto found = find_relation(peek());
    if (!found || (at_command("mid") && bars_ < 0)) break;
    ++at_;
    const Id right = sets();
    chain.push_back(terms_.relation(*found, left, right));
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

Id Parser::additive() {
  const auto signed_value = [&]() {
    if (take_command("pm")) return terms_.make(Op::plus_minus, 0, std::array{multiplicative()});
    if (take_command("mp")) return terms_.make(Op::plus_minus, 1, std::array{multiplicative()});
    if (at_sign("+") && (at_sign("/", 1) || at_sign("-", 1)) && at_sign("-", 2)) {
      at_ += 3;  // +/-
      return terms_.make(Op::plus_minus, 0, std::array{multiplicative()});
    }
    if (take_sign("+")) return multiplicative();
    if (take_sign("-")) return terms_.negate(multiplicative());
    return kNone;
  };
  std::vector<Id> parts;
  if (const std::size_t before = at_; parts.push_back(signed_value()), at_ == before) {
    parts.back() = multiplicative();
  }
  for (;;) {
    if (parts.back() == kNone) return kNone;
    const std::size_t before = at_;
    const Id next = signed_value();
    if (at_ == before) break;
    parts.push_back(next);
  }
  return terms_.sum(parts);
}

Id Parser::multiplicative() {
  const Depth depth(depth_, kMaxDepth, terms_.budget);
  if (terms_.budget.is_over()) return kNone;
  Id left = unary();
  while (left != kNone) {
    if (take_sign("*") || take_command("cdot") || take_command("times") || take_command("ast")) {
      left = terms_.multiply(left, unary());
    } else if (take_sign("/") || take_command("div")) {
      left = terms_.divide(left, unary());
    } else if (take_command("bmod") || take_word("mod")) {
      left = terms_.call(Function::mod, std::array{left, unary()});
    } else if (take_command("choose")) {
      left = terms_.call(Function::binomial, std::array{left, unary()});
    } else if (at_command("pmod") || at_command("mod")) {
      ++at_;
      left = terms_.call(Function::function, std::array{left, argument()}, "pmod");
    } else if (begins_value()) {
      const bool number = peek().kind == Lexeme::number;
      const Token& before = tokens_[at_ - 1];
      // "3 4" and "x2" are no products; "(1+2)3" and "2^{3}4" are.
      if (number && before.text != ")" && before.text != "}" && before.text != "]") return kNone;
      ambiguity_.letter_units |= before.kind == Lexeme::number && peek().gap != Gap::none &&
                                 peek().kind == Lexeme::word && peek().text.size() == 1;
      left = terms_.multiply(left, postfix());
    } else {
      break;
    }
  }
  return left;
}

/// A factor behind a sign of its own: 2 * -3.
Id Parser::unary() {
  const Depth depth(depth_, kMaxDepth, terms_.budget);
  if (terms_.budget.is_over()) return kNone;
  if (take_sign("-")) return terms_.negate(unary());
  if (take_sign("+")) return unary();
  if (take_command("pm")) return terms_.make(Op::plus_minus, 0, std::array{unary()});
  return postfix();
}

Id Parser::postfix() {
  const Depth depth(depth_, kMaxDepth, terms_.budget);
  if (terms_.budget.is_over()) return kNone;
  return postfix_of(atom());
}

Id Parser::postfix_of(Id value) {
  while (value != kNone) {
    if (at_sign("!") && at_sign("!", 1)) {
      at_ += 2;
      value = double_factorial(value);
    } else if (at_sign("!")) {
      ++at_;
      value = terms_.call(Function::factorial, std::array{value});
    } else if (take_sign("^") || take_sign("**")) {
      value = exponent_of(value);
    } else if (take_sign("%")) {
      value = terms_.make(Op::percent, 0, std::array{value});
    } else if (take_command("circ") || take_command("degree")) {
      value = terms_.call(Function::degrees, std::array{value});
    } else if (const auto currency = currency_of(peek());
               currency && peek(1).kind != Lexeme::number) {
      ++at_;  // 5 \$
      value = terms_.make(Op::quantity, 0, std::array{value, terms_.integer(1)}, *currency);
    } else {
      break;
    }
  }
  return value;
}

/// n (n - 2) (n - 4) ...
Id Parser::double_factorial(Id value) {
  const auto n = terms_.is(value, Op::number) ? small_integer(terms_.value(value)) : std::nullopt;
  if (!n || *n < 0 || *n > 1'000) return kNone;
  std::vector<Id> factors = {terms_.integer(1)};
  for (std::int64_t k = *n; k > 1; k -= 2) factors.push_back(terms_.integer(k));
  return terms_.product(factors);
}

Id Parser::exponent_of(Id base) {
  const bool braces = at_sign("{");
  const std::size_t ahead = braces ? 1 : 0;
  if (at_command("circ", ahead) || at_command("degree", ahead)) {
    at_ += 1 + ahead;
    if (braces && !take_sign("}")) return kNone;
    if (at(Lexeme::word, "C") || at(Lexeme::word, "F") || at(Lexeme::words, "C") ||
        at(Lexeme::words, "F")) {
      ++at_;
      return base;  // a temperature
    }
    return terms_.call(Function::degrees, std::array{base});
  }
  if (braces && at_sign("'", 1)) return kNone;
  Id exponent = kNone;
  if (take_sign("-")) {
    exponent = terms_.negate(postfix());
  } else if (take_sign("+")) {
    exponent = postfix();
  } else if (peek().kind == Lexeme::number) {
    exponent = literal();
    if (at_sign("^")) exponent = postfix_of(exponent);
    if (at_sign("!")) return kNone;  // x^3! may be (x^3)! or x^(3!)
  } else if (peek().kind == Lexeme::word && peek().text.size() > 1 && !braces) {
    // TeX reads one letter, x^ab is x^a b; and a name is a name: x^pi
    exponent = atom();
  } else {
    exponent = atom();
    if (at_sign("^") || at_sign("!")) exponent = postfix_of(exponent);
  }
  return terms_.power(base, exponent);
}

/// Whether a value can begin here without a sign in between, as in a product.
bool Parser::begins_value() const {
  const Token& token = peek();
  switch (token.kind) {
    case Lexeme::number:
      return true;
    case Lexeme::word:
      return !at_connective() && token.text != "to" && token.text != "mod" &&
             !is_unit_word(token) && !(token.text == "U" && (at_sign("(", 1) || at_sign("[", 1)));
    case Lexeme::words: {
      Function function;
      return find_function(token.text, function);
    }
    case Lexeme::sign:
      return token.text == "(" || (token.text == "[" && !reversed_) || token.text == "{" ||
             (token.text == "|" && bars_ == 0);
    case Lexeme::command: {
      static constexpr auto kNoValue = std::to_array<Text>(
          {"cup",    "cap",   "setminus", "backslash", "}",     "rangle", "rvert",  "rVert",
           "rfloor", "rceil", "\\",       "cdot",      "times", "div",    "pm",     "mp",
           "land",   "lor",   "wedge",    "vee",       "end",   "circ",   "degree", "ast",
           "bmod",   "pmod",  "mod",      "choose",    "over",  "rbrace", "bigcup", "bigcap",
           "ldots",  "dots",  "cdots",    "quad",      "neg"});
      return std::find(kNoValue.begin(), kNoValue.end(), token.text) == kNoValue.end() &&
             !find_relation(token) && !(token.text == "|" && bars_ != 0);
    }
    default:
      return false;
  }
}

bool Parser::is_unit_word(const Token& token) const {
  if (token.kind == Lexeme::words) return true;
  if (token.kind != Lexeme::word) return false;
  Function function;
  if (find_function(token.text, function) || token.text == "pi" || token.text == "infinity")
    return false;
  if (token.text.size() == 1) {
    return reading_.letter_units && token.gap != Gap::none &&
           Text("msghlLNJWVAK").find(token.text) != Text::npos;
  }
  const auto unit = parse_unit(token.text, false);
  if (unit && !unit->dimension.empty()) return true;
  return token.text.size() > 2 && !are_variables(token.text) && token.gap != Gap::none;
}

/// Takes the words behind a value for its unit: up to the next comma, connective or bracket.
Id Parser::with_unit(Id value) {
  if (value == kNone || at_end()) return value;
  if (!is_unit_word(peek()) || at_word("to") || at_connective()) return value;
  std::string phrase;
  bool formal = peek().kind == Lexeme::words;
  while (!at_end() && !at_connective() && !at_sign(")") && !at_sign("]") && !at_sign("=") &&
         !at_sign("|") && !at_command("}") && !at_sign("}") && !at_command("cup") &&
         phrase.size() < 80 && !find_relation(peek())) {
    const Token& token = peek();
    if (token.kind == Lexeme::number && token.gap != Gap::none) break;  // 1 hour 30 minutes
    if (token.kind == Lexeme::command && token.text != "cdot" && token.text != "circ") return kNone;
    if (token.text == "." && at_sign(".", 1)) return kNone;
    if (!phrase.empty() && token.gap != Gap::none) phrase.push_back(' ');
    if (token.kind == Lexeme::command) {
      phrase.push_back(' ');
    } else {
      phrase.append(token.text);
    }
    ++at_;
    if (phrase.ends_with('^') && at_sign("{")) {
      ++at_;
      while (!at_end() && !at_sign("}")) phrase.append(tokens_[at_++].text);
      if (!take_sign("}")) return kNone;
    }
  }
  while (!phrase.empty() && (phrase.back() == '.' || phrase.back() == ' ')) phrase.pop_back();
  const auto unit = parse_unit(phrase, formal || reading_.letter_units);
  if (!unit) return kNone;
  const std::string dimension = unit->dimension.empty() ? "?" : unit->dimension;
  const Id first =
      terms_.make(Op::quantity, 0, std::array{value, terms_.number(unit->factor)}, dimension);
  if (peek().kind != Lexeme::number) return first;
  const Id second = with_unit(additive());
  if (!terms_.is(second, Op::quantity) || terms_.name(second) != dimension) return kNone;
  const auto plain = [&](Id id) {
    return terms_.multiply(terms_.child(id, 0), terms_.child(id, 1));
  };
  const Id total = terms_.add(plain(first), plain(second));
  return terms_.make(Op::quantity, 0, std::array{total, terms_.integer(1)}, dimension);
}

}  // namespace r1::math
