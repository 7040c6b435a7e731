#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "csrc/rewards/math/lexer.h"
#include "csrc/rewards/math/terms.h"

namespace r1::math {

/// How to take what can be taken in two ways.
struct Reading {
  enum class Commas : std::uint8_t { thousands, list, decimal };
  Commas commas = Commas::thousands;
  bool letter_units = false;  // "5 m" is five metres, not five times m
  bool rounded = false;       // "2\sqrt{13} \approx 7.21" is 7.21, not 2\sqrt{13}
  bool operator==(const Reading&) const = default;
};

/// What a text holds that another reading would take otherwise.
struct Ambiguity {
  bool thousands = false;  // 1,234
  bool decimal = false;    // 1,5
  bool letter_units = false;
  bool rounded = false;
};

/// A Pratt parser from tokens to terms, LaTeX and plain mathematics alike. One method per level of
/// precedence, weakest first: or; and , ; relations; set operations; ratio; plus and minus; times;
/// powers and what follows a value; atoms.
class Parser {
 public:
  Parser(Terms& terms, std::vector<Token> tokens, Reading reading)
      : terms_(terms), tokens_(std::move(tokens)), reading_(reading) {}

  /// @return the term of the whole text, or kNone where it is no mathematics
  Id run();
  const Ambiguity& ambiguity() const { return ambiguity_; }

 private:
  /// Ends a recursion that is too deep; the parser then unwinds with kNone.
  class Depth {
   public:
    explicit Depth(Parser& parser) : depth_(parser.depth_) {
      if (++depth_ > kMaxDepth) parser.terms_.budget.end();
      parser.terms_.budget.spend(20);
    }
    ~Depth() { --depth_; }

   private:
    static constexpr int kMaxDepth = 200;
    int& depth_;
  };

  // parser.cpp: a whole answer, its alternatives and its items
  Id alternatives();
  Id list();
  bool take_integers();
  bool at_range() const;
  bool range_of_parameter(const std::vector<Id>& parts) const;

  // parser_relations.cpp: relations, sets, ratios
  std::optional<Relation> bound();
  Id relation();
  Id sets();
  Id ratio();

  // parser_products.cpp: sums, products, powers and what follows a value
  Id additive();
  Id multiplicative();
  Id unary();
  Id postfix();
  Id postfix_of(Id value);
  Id double_factorial(Id value);
  Id exponent_of(Id base);
  Id congruent(Id value, Id modulus);
  bool begins_value() const;

  // parser_units.cpp: the words behind a value
  bool is_unit_word(const Token& token) const;
  Id scaled(Id value, std::string& phrase);
  Id with_unit(Id value);

  // parser_atoms.cpp: what a value can begin with
  Id atom();
  Id word();
  Id word_part(std::string_view name);
  Id command();
  Id symbol(std::string name);
  Id fraction();
  Id derivative();
  Id root();
  Id argument();
  Id number_set();
  Id currency(std::string_view dimension);
  std::string script();

  // parser_functions.cpp: functions and their arguments
  Id function(Function which);
  Id logarithm(Function which);
  Id argument_of_function();
  Id implicit_product();
  Id big_operator(bool sum);

  // parser_groups.cpp: brackets and environments
  Id group();
  Id round_or_square(std::string_view open);
  Id braces();
  Id set_braces();
  Id bars(std::string_view close);
  Id between(std::string_view close, Function function);
  Id angle();
  Id environment();
  Id case_of_system();
  Id environment_rows(std::string_view name);
  Id determinant(Id matrix);
  std::vector<Id> elements(int bars = 0);
  std::vector<Id> call_arguments();

  // literal.cpp: numbers as written
  Id literal();
  bool grouped(std::string& digits);
  bool point_grouped(std::string& digits);
  Id repeating(const std::string& digits);
  Id dotted(const std::string& digits);
  Id periodic(std::string_view digits, std::string_view period);
  Id scientific(Id mantissa, bool point);
  Id mixed(Id whole);
  Id based(Id value, const std::string& digits);
  Id based_with_letters();

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  bool at(Lexeme kind, std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == kind && peek(ahead).text == text;
  }
  bool at_sign(std::string_view text, std::size_t ahead = 0) const {
    return at(Lexeme::sign, text, ahead);
  }
  bool at_command(std::string_view text, std::size_t ahead = 0) const {
    return at(Lexeme::command, text, ahead);
  }
  bool at_word(std::string_view text) const {
    return at(Lexeme::word, text) || at(Lexeme::words, text);
  }
  bool at_end() const { return peek().kind == Lexeme::end; }
  bool take_sign(std::string_view text) { return at_sign(text) && (++at_, true); }
  bool take_command(std::string_view text) { return at_command(text) && (++at_, true); }
  bool take_word(std::string_view text) { return at_word(text) && (++at_, true); }
  bool at_connective() const;

  Terms& terms_;
  std::vector<Token> tokens_;  // one may be cut in two: \frac12
  Reading reading_;
  Ambiguity ambiguity_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;           // |...| that are open
  bool index_i_ = false;   // i counts, and is not the imaginary unit
  bool reversed_ = false;  // inside ]a, b[, where [ closes
};

/// The relation that a token stands for, as LaTeX or plain text writes it.
std::optional<Relation> find_relation(const Token& token);

/// The function of that name, as LaTeX or plain text calls it.
bool find_function(std::string_view name, Function& function);

/// Whether a run of letters reads as a product of variables: a few neighbours in the alphabet, such
/// as xy, abc, mn. Other runs are words.
bool are_variables(std::string_view letters);
bool is_short_word(std::string_view letters);

}  // namespace r1::math
