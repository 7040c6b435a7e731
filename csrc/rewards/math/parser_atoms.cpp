#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/parser.h"
#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

using Text = std::string_view;

bool is_greek(Text name) {
  static constexpr auto kGreek = std::to_array<Text>(
      {"alpha",       "beta",  "gamma",    "delta",    "epsilon",   "varepsilon", "zeta",
       "eta",         "theta", "vartheta", "iota",     "kappa",     "lambda",     "mu",
       "nu",          "xi",    "rho",      "sigma",    "tau",       "upsilon",    "phi",
       "varphi",      "chi",   "psi",      "omega",    "Gamma",     "Delta",      "Theta",
       "Lambda",      "Xi",    "Pi",       "Sigma",    "Phi",       "Psi",        "Omega",
       "ell",         "hbar",  "square",   "triangle", "heartsuit", "clubsuit",   "spadesuit",
       "diamondsuit", "star"});
  return std::find(kGreek.begin(), kGreek.end(), name) != kGreek.end();
}

}  // namespace

bool are_variables(Text letters) {
  if (letters.size() <= 1) return true;
  if (letters.size() > 5) return false;
  for (const Text block :
       {Text("abcdABCD"), Text("klmnKLMN"), Text("pqrstPQRST"), Text("uvwxyzUVWXYZ")}) {
    if (std::all_of(letters.begin(), letters.end(),
                    [&](char c) { return block.find(c) != Text::npos; }))
      return true;
  }
  return letters.size() == 2;
}

/// Two letters that alone are a word and no product.
bool is_short_word(Text letters) {
  static constexpr auto kWords =
      std::to_array<Text>({"am", "an", "as", "at", "be", "by", "do", "go", "he", "if", "in", "is",
                           "it", "me", "my", "no", "of", "on", "or", "so", "to", "up", "us", "we"});
  return std::find(kWords.begin(), kWords.end(), letters) != kWords.end();
}

Id Parser::atom() {
  if (const Id value = based_with_letters(); value != kNone) return value;
  switch (peek().kind) {
    case Lexeme::number:
      return literal();
    case Lexeme::word:
      return word();
    case Lexeme::words: {
      Function which;
      if (find_function(peek().text, which)) {
        const bool cube_root = peek().text == "cbrt";
        ++at_;
        return which == Function::root
                   ? terms_.call(which, std::array{argument_of_function(),
                                                   terms_.integer(cube_root ? 3 : 2)})
                   : function(which);
      }
      if (peek().text.size() == 1 && is_letter(peek().text[0]))
        return word_part(tokens_[at_++].text);
      return kNone;
    }
    case Lexeme::command:
      return command();
    case Lexeme::sign:
      return group();
    default:
      return kNone;
  }
}

/// Letters in a row: a function, a constant, or variables side by side.
Id Parser::word() {
  const Text letters = peek().text;
  Function which;
  if (find_function(letters, which)) {
    ++at_;
    if (which != Function::root) return function(which);
    return terms_.call(
        which, std::array{argument_of_function(), terms_.integer(letters == "cbrt" ? 3 : 2)});
  }
  if (letters == "pi" || letters == "Pi" || letters == "PI")
    return ++at_, terms_.constant(Constant::pi);
  if (letters == "infinity" || letters == "inf" || letters == "oo" || letters == "Infinity" ||
      letters == "infty") {
    return ++at_, terms_.constant(Constant::infinity);
  }
  if (is_greek(letters)) return ++at_, symbol(std::string(letters));
  const bool alone = tokens_.size() == 2;
  if (alone && is_short_word(letters)) return kNone;
  // Beside digits and signs, a run of up to four letters is a product; a whole answer is a word.
  const bool phrase =
      peek(1).gap != Gap::none && (peek(1).kind == Lexeme::word || peek(1).kind == Lexeme::words);
  if (!are_variables(letters) && (alone || phrase || letters.size() > 4)) return kNone;
  const Token whole = peek();
  if (letters.size() == 1) return ++at_, word_part(letters);
  // The last letter stays behind for its subscript, exponent or bracket.
  std::vector<Id> factors;
  for (std::size_t k = 0; k + 1 < letters.size(); ++k)
    factors.push_back(word_part(letters.substr(k, 1)));
  tokens_[at_] = {Lexeme::word, Gap::none, whole.text.substr(letters.size() - 1)};
  ++at_;
  factors.push_back(postfix_of(word_part(letters.substr(letters.size() - 1))));
  return terms_.product(factors);
}

Id Parser::word_part(Text name) {
  if (name == "e") return terms_.constant(Constant::e);
  if (name == "i" && !index_i_) return terms_.constant(Constant::i);
  return symbol(std::string(name));
}

/// What a subscript holds, as it is written.
std::string Parser::script() {
  std::string text;
  if (!take_sign("{")) {
    if (at_end()) return text;
    return std::string(tokens_[at_++].text);
  }
  for (int depth = 1; !at_end(); ++at_) {
    if (at_sign("{")) ++depth;
    if (at_sign("}") && --depth == 0) break;
    text.append(peek().text);
  }
  take_sign("}");
  return text;
}

/// A variable with its subscript and primes, or a function applied to something.
Id Parser::symbol(std::string name) {
  if (take_sign("_")) name.append("_").append(script());
  while (take_sign("'")) name += "'";
  if (at_sign("^") && at_sign("{", 1) && at_sign("'", 2)) {
    at_ += 2;
    while (take_sign("'")) name += "'";
    if (!take_sign("}")) return kNone;
  }
  if (at_sign("^") && at_command("prime", 1)) {
    at_ += 2;
    name += "'";
  }
  const bool inverse = at_sign("^") && at_sign("{", 1) && at_sign("-", 2) &&
                       at(Lexeme::number, "1", 3) && at_sign("}", 4) && at_sign("(", 5);
  if (inverse && Text("fgh").find(name[0]) != Text::npos) {
    at_ += 5;  // f^{-1}(x) is a function of its own
    name += "^-1";
  }
  if (!at_sign("(") || peek().gap != Gap::none) return terms_.symbol(name);
  if (name == "C" && at_sign(",", 2)) {
    const auto two = call_arguments();
    return two.size() == 2 ? terms_.call(Function::binomial, two) : kNone;
  }
  if (name.size() == 1 && name[0] >= 'A' && name[0] <= 'Z') {  // a point by its name: A(1, 2)
    const std::size_t before = at_;
    const Id point = atom();
    if (terms_.is(point, Op::tuple)) return point;
    at_ = before;
  }
  const bool usual = Text("fghFGH").find(name[0]) != Text::npos;
  const bool defined = at_ == 1 && at_sign(")", 2) && at_sign("=", 3);  // P(x) = ...
  if (!usual && !defined) return terms_.symbol(name);
  const auto arguments = call_arguments();
  return arguments.empty() ? kNone : terms_.call(Function::function, arguments, name);
}

Id Parser::command() {
  const Text name = tokens_[at_++].text;
  Function which;
  if (name == "frac" || name == "dfrac" || name == "tfrac" || name == "cfrac") return fraction();
  if (name == "sqrt") return root();
  if (name == "binom" || name == "dbinom" || name == "tbinom") {
    const Id top = argument();
    return terms_.call(Function::binomial, std::array{top, argument()});
  }
  if (name == "pi") return terms_.constant(Constant::pi);
  if (name == "infty") return terms_.constant(Constant::infinity);
  if (name == "imath") return terms_.constant(Constant::i);
  if (name == "mathbb") return number_set();
  if (name == "emptyset" || name == "varnothing") return terms_.make(Op::number_set, 0, {});
  if (name == "{") return set_braces();
  if (name == "lbrace") return set_braces();
  if (name == "lvert" || name == "vert") return bars(name == "vert" ? "vert" : "rvert");
  if (name == "|" || name == "lVert" || name == "Vert")
    return bars(name == "lVert" ? "rVert" : name);
  if (name == "lfloor") return between("rfloor", Function::floor);
  if (name == "lceil") return between("rceil", Function::ceil);
  if (name == "langle") return angle();
  if (name == "begin") return environment();
  if (name == "sum" || name == "prod") return big_operator(name == "sum");
  if (name == "$") return currency("dollar^1 ");
  if (name == "euro") return currency("euro^1 ");
  if (name == "pounds") return currency("sterling^1 ");
  if (name == "yen") return currency("yen^1 ");
  if (name == "overline" || name == "bar") {
    const Id value = argument();  // a conjugate; over digits it is literal's
    return terms_.call(Function::conjugate, std::array{value});
  }
  if (find_function(name, which)) return function(which);
  if (name == "angle") return atom();  // \angle ABC
  if (is_greek(name)) return symbol(std::string(name));
  return kNone;
}

Id Parser::currency(Text dimension) {
  const Id value = at_sign("-") ? unary() : postfix();
  return terms_.make(Op::quantity, 0, std::array{value, terms_.integer(1)}, dimension);
}

Id Parser::number_set() {
  const Text name = tokens_[at_++].text;
  if (name.size() != 1 || Text("NZQRC").find(name[0]) == Text::npos) return kNone;
  std::string set(name);
  if (take_sign("^")) set.append("^").append(script());
  return terms_.make(Op::number_set, 0, {}, set);
}

/// dy/dx is a name, and no quotient that d cancels in.
Id Parser::derivative() {
  const auto differential = [&](std::size_t ahead) {
    return at_sign("{", ahead) && peek(ahead + 1).kind == Lexeme::word &&
           peek(ahead + 1).text.size() <= 2 && peek(ahead + 1).text[0] == 'd' &&
           at_sign("}", ahead + 2);
  };
  if (!differential(0) || !differential(3) || peek(4).text.size() != 2) return kNone;
  std::string name(peek(1).text);
  name.append("/").append(peek(4).text);
  at_ += 6;
  return terms_.symbol(name);
}

Id Parser::fraction() {
  if (const Id name = derivative(); name != kNone) return name;
  const Id top = argument();
  const Id bottom = argument();
  return terms_.divide(top, bottom);
}

Id Parser::root() {
  Id degree = terms_.integer(2);
  if (take_sign("[")) {
    degree = additive();
    if (!take_sign("]")) return kNone;
  }
  return terms_.call(Function::root, std::array{argument(), degree});
}

/// The argument of a command: a group, or one token; of digits the first (\frac12).
Id Parser::argument() {
  if (peek().kind == Lexeme::number && peek().text.size() > 1 &&
      peek().text.find('.') == Text::npos) {
    Token& digits = tokens_[at_];
    const Id first = terms_.integer(digits.text[0] - '0');
    digits.text.remove_prefix(1);
    digits.gap = Gap::none;
    return first;
  }
  if (peek().kind == Lexeme::number) return literal();
  if (peek().kind == Lexeme::word && peek().text.size() > 1) {
    Token& letters = tokens_[at_];
    Function which;
    if (!find_function(letters.text, which) && letters.text != "pi") {
      const Text first = letters.text.substr(0, 1);
      letters.text.remove_prefix(1);
      return word_part(first);
    }
  }
  if (at_sign("-")) return unary();
  return atom();
}

}  // namespace r1::math
