#include "csrc/rewards/math/parser.h"

#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/units.h"
#include "csrc/rewards/math/words.h"
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
    } else if (take_command("pmod") || take_command("mod")) {
      left = congruent(left, argument());
    } else if (at_sign("(") && at(Lexeme::word, "mod", 1)) {
      at_ += 2;
      left = congruent(left, additive());
      if (!take_sign(")")) return kNone;
    } else if (begins_value()) {
      const bool number = peek().kind == Lexeme::number;
      const Token& before = tokens_[at_ - 1];
      // "3 4" and "x2" are no products; "(1+2)3" and "2^{3}4" are.
      if (number && before.text != ")" && before.text != "}" && before.text != "]") return kNone;
      ambiguity_.letter_units |= before.kind == Lexeme::number && peek().gap != Gap::none &&
                                 peek().kind == Lexeme::word && peek().text.size() == 1;
      const Id right = postfix();
      const bool range = range_of_parameter({left, right});  // 2k (k \in \mathbb{Z})
      if (!range) left = terms_.multiply(left, right);
    } else {
      break;
    }
  }
  return left;
}

/// 12 (mod 7): a class, by its smallest member that is not negative.
Id Parser::congruent(Id value, Id modulus) {
  if (value == kNone || modulus == kNone) return kNone;
  if (terms_.is(value, Op::number) && terms_.is(modulus, Op::number) && terms_.value(modulus) > 0) {
    value = terms_.call(Function::mod, std::array{value, modulus});
  }
  return terms_.call(Function::function, std::array{value, modulus}, "pmod");
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
      const Text scale = tokens_[at_++].text == "C" ? "celsius^1 " : "fahrenheit^1 ";
      return terms_.make(Op::quantity, 0, std::array{base, terms_.integer(1)}, scale);
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
  const bool minutes = (token.text == "min" || token.text == "sec") && (&token == &peek()) &&
                       !at_sign("(", 1) && !at_sign("{", 1) && !at_command("{", 1);
  if (minutes && tokens_[at_ - 1].kind == Lexeme::number) return true;
  if (find_function(token.text, function) || token.text == "pi" || token.text == "infinity")
    return false;
  // In 2h 30min no other number could follow the letter.
  if (token.text == "h" && peek(1).kind == Lexeme::number && peek(1).gap != Gap::none) return true;
  if (token.text.size() == 1) {
    return reading_.letter_units && token.gap != Gap::none &&
           Text("msghlLNJWVAK").find(token.text) != Text::npos;
  }
  const auto unit = parse_unit(token.text, false);
  if (unit && !unit->dimension.empty()) return true;
  return token.text.size() > 2 && !are_variables(token.text) && token.gap != Gap::none;
}

/// Takes "million", "dozen", "squared" or "percent" off the front of the words behind a value.
Id Parser::scaled(Id value, std::string& phrase) {
  for (;;) {
    const std::string word = phrase.substr(0, phrase.find(' '));
    if (const auto scale = scale_of_word(word)) {
      value = terms_.multiply(value, terms_.number(Rational(scale->times) / scale->per));
    } else if (word == "squared" || word == "cubed") {
      value = terms_.power(value, terms_.integer(word == "squared" ? 2 : 3));
    } else if (word == "percent") {
      value = terms_.make(Op::percent, 0, std::array{value});
    } else {
      return value;
    }
    phrase.erase(0, std::min(word.size() + 1, phrase.size()));
  }
}

/// Takes the words behind a value for its unit: up to the next comma, connective or bracket.
Id Parser::with_unit(Id value) {
  if (value == kNone || at_end()) return value;
  if (!is_unit_word(peek()) || at_word("to") || at_connective() || at_range()) return value;
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
  value = scaled(value, phrase);
  if (phrase.empty()) return value;
  const auto unit = parse_unit(phrase, formal || reading_.letter_units || phrase == "h");
  if (!unit || (unit->dimension.empty() && is_denial(phrase))) return kNone;
  const std::string dimension = unit->dimension.empty() ? "?" + unit->words : unit->dimension;
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
