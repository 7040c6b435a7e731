#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/parser.h"

namespace r1::math {
namespace {

using Text = std::string_view;

struct FunctionName {
  Text name;
  Function function;
};
constexpr auto kFunctions = std::to_array<FunctionName>({
    {"sin", Function::sin},     {"cos", Function::cos},        {"tan", Function::tan},
    {"cot", Function::cot},     {"sec", Function::sec},        {"csc", Function::csc},
    {"arcsin", Function::asin}, {"arccos", Function::acos},    {"arctan", Function::atan},
    {"asin", Function::asin},   {"acos", Function::acos},      {"atan", Function::atan},
    {"arccot", Function::acot}, {"arcsec", Function::asec},    {"arccsc", Function::acsc},
    {"tg", Function::tan},      {"sinh", Function::sinh},      {"cosh", Function::cosh},
    {"tanh", Function::tanh},   {"exp", Function::exp},        {"ln", Function::ln},
    {"log", Function::log},     {"lg", Function::log},         {"sqrt", Function::root},
    {"cbrt", Function::root},   {"abs", Function::abs},        {"floor", Function::floor},
    {"ceil", Function::ceil},   {"sign", Function::sign},      {"sgn", Function::sign},
    {"gcd", Function::gcd},     {"lcm", Function::lcm},        {"max", Function::max},
    {"min", Function::min},     {"binom", Function::binomial}, {"Re", Function::real},
    {"Im", Function::imag},     {"arg", Function::arg},        {"conj", Function::conjugate},
});

}  // namespace

bool find_function(Text name, Function& function) {
  const auto* found = std::find_if(kFunctions.begin(), kFunctions.end(),
                                   [&](const auto& f) { return f.name == name; });
  if (found == kFunctions.end()) return false;
  function = found->function;
  return true;
}

/// A function with its power and argument: \sin^2 x, \sin^{-1} x, \log_2 8, f(x, y).
Id Parser::function(Function which) {
  if (which == Function::log || which == Function::ln) return logarithm(which);
  if (which == Function::binomial || which == Function::gcd || which == Function::lcm ||
      which == Function::max || which == Function::min) {
    const auto arguments = call_arguments();
    return arguments.size() >= 2 ? terms_.call(which, arguments) : kNone;
  }
  Id power = kNone;
  if (take_sign("^")) power = argument();
  const Id inner = argument_of_function();
  if (inner == kNone) return kNone;
  if (terms_.is(power, Op::number) && terms_.value(power) == -1) {
    const std::optional<Function> inverse = which == Function::sin   ? std::optional(Function::asin)
                                            : which == Function::cos ? std::optional(Function::acos)
                                            : which == Function::tan ? std::optional(Function::atan)
                                                                     : std::nullopt;
    return inverse ? terms_.call(*inverse, std::array{inner}) : kNone;
  }
  const Id value = terms_.call(which, std::array{inner});
  return power == kNone ? value : terms_.power(value, power);
}

Id Parser::logarithm(Function which) {
  Id base = kNone, power = kNone;
  if (take_sign("_")) base = argument();
  if (take_sign("^")) power = argument();
  if (base == kNone && take_sign("_")) base = argument();
  if (tokens_[at_ - 1].text == "lg") base = terms_.integer(10);
  const Id inner = argument_of_function();
  Id value = kNone;
  if (base == kNone) {
    value = terms_.call(which, std::array{inner});
  } else {
    value = terms_.divide(terms_.call(Function::ln, std::array{inner}),
                          terms_.call(Function::ln, std::array{base}));
  }
  return power == kNone ? value : terms_.power(value, power);
}

/// "(x + 1)", or without brackets a product without signs: "2x", "30^\circ", but not "x + 1".
Id Parser::argument_of_function() {
  if (at_sign("(") || at_sign("[") || at_command("|")) {
    const Id value = atom();
    return at_sign("!") || at_command("circ") ? postfix_of(value) : value;
  }
  if (at_sign("-")) return unary();
  return implicit_product();
}

Id Parser::implicit_product() {
  std::vector<Id> factors = {postfix()};
  Function which;
  while (factors.back() != kNone && begins_value() && peek().kind != Lexeme::number &&
         !at_sign("(") && !at_sign("[") && !at_command("sum") && !at_command("begin") &&
         !find_function(peek().text, which)) {
    factors.push_back(postfix());
  }
  // \ln 2/3 is left to its reader; 2\pi/3 under a sine is one angle.
  if (factors.back() != kNone && factors.size() > 1 && at_sign("/") &&
      peek(1).kind == Lexeme::number) {
    ++at_;
    factors.push_back(terms_.power(postfix(), terms_.integer(-1)));
  } else if (factors.back() != kNone && terms_.is_constant(factors[0], Constant::pi) &&
             at_sign("/")) {
    ++at_;
    factors.push_back(terms_.power(postfix(), terms_.integer(-1)));
  }
  if (factors.back() == kNone) return kNone;
  return terms_.product(factors);
}

/// \sum_{k=1}^{n} and \prod with few terms are written out.
Id Parser::big_operator(bool sum) {
  static constexpr std::int64_t kMaxTerms = 1000;
  Id lower = kNone, upper = kNone;
  const bool index_i = index_i_;
  index_i_ |= at_sign("_") && at(Lexeme::word, "i", at_sign("{", 1) ? 2 : 1);
  for (int part = 0; part < 2; ++part) {
    if (take_sign("_")) {
      if (!take_sign("{")) return kNone;
      lower = relation();
      if (!take_sign("}")) return kNone;
    } else if (take_sign("^")) {
      upper = argument();
    }
  }
  const Id body = multiplicative();
  index_i_ = index_i;
  if (body == kNone || !terms_.is(lower, Op::relation) || !terms_.is(upper, Op::number))
    return kNone;
  const Id variable = terms_.child(lower, 0), first = terms_.child(lower, 1);
  if (!terms_.is(variable, Op::symbol) || !terms_.is(first, Op::number)) return kNone;
  const auto from = small_integer(terms_.value(first)), to = small_integer(terms_.value(upper));
  if (!from || !to || *to - *from > kMaxTerms) return kNone;
  std::vector<Id> parts = {terms_.integer(sum ? 0 : 1)};
  for (std::int64_t k = *from; k <= *to; ++k) {
    parts.push_back(terms_.substitute(body, variable, terms_.integer(k)));
    if (parts.back() == kNone) return kNone;
  }
  return sum ? terms_.sum(parts) : terms_.product(parts);
}

}  // namespace r1::math
