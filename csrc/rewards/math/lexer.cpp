#include "csrc/rewards/math/lexer.h"

#include <algorithm>
#include <array>

#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

using Text = std::string_view;

constexpr auto kIgnored = std::to_array<Text>(
    {"left",       "right",      "displaystyle", "textstyle",  "scriptstyle",  "limits",
     "nolimits",   "big",        "Big",          "bigg",       "Bigg",         "bigl",
     "bigr",       "Bigl",       "Bigr",         "biggl",      "biggr",        "Biggl",
     "Biggr",      "middle",     "mathbf",       "mathit",     "mathsf",       "mathcal",
     "mathnormal", "boldsymbol", "bm",           "bf",         "rm",           "it",
     "boxed",      "fbox",       "underline",    "vec",        "hat",          "widehat",
     "phantom",    "hfill",      "noindent",     "tt",         "mathstrut",    "strut",
     "nonumber",   "ensuremath", "mathop",       "mathbin",    "mathrel",      "mathord",
     "protect",    "centering",  "hline",        "null",       "relax",        "smash",
     "mathtt",     "mathscr",    "large",        "Large",      "LARGE",        "huge",
     "Huge",       "small",      "tiny",         "normalsize", "footnotesize", "mathfrak"});
constexpr auto kBlanks =
    std::to_array<Text>({"quad", "qquad", "space", "enspace", "newline", "nobreakspace"});
constexpr auto kThin = std::to_array<Text>({"thinspace", "medspace", "thickspace"});
constexpr auto kText = std::to_array<Text>(
    {"text", "textbf", "textit", "textrm", "textsf", "texttt", "mbox", "hbox", "mathrm",
     "operatorname", "textnormal", "textup", "emph", "textsc", "rm", "mathup", "unit", "si"});

template <std::size_t N>
bool contains(const std::array<Text, N>& names, Text name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The text inside the braces at the front, which it removes; nothing taken where there are none.
bool take_braced(Text& text, Text& body) {
  Text rest = text;
  while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
  if (rest.empty() || rest.front() != '{') return false;
  int depth = 0;
  for (std::size_t at = 0; at < rest.size(); ++at) {
    if (rest[at] == '\\') {
      ++at;
    } else if (rest[at] == '{') {
      ++depth;
    } else if (rest[at] == '}' && --depth == 0) {
      body = rest.substr(1, at - 1);
      text = rest.substr(at + 1);
      return true;
    }
  }
  return false;
}

/// `$` around formulas, or before amounts? An even number of them that ends the text is the first.
bool are_money(Text text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '$') {
      ++count;
    }
  }
  while (!text.empty() && (is_space(text.back()) || text.back() == '.')) text.remove_suffix(1);
  return count % 2 == 1 || !text.ends_with('$');
}

}  // namespace

bool is_wordy(Text text) {
  bool letters = false;
  for (const char c : text) {
    const bool high = (c & 0x80) != 0;
    letters |= is_letter(c) || high;
    if (!is_letter(c) && !high && !is_space(c) && Text("-'.,;:!?()\"/&~").find(c) == Text::npos)
      return false;
  }
  return letters;
}

bool Lexer::run(Text latex) {
  tokens_.clear();
  gap_ = Gap::none;
  dollars_are_money_ = are_money(latex);
  if (!lex(latex, 0)) return false;
  push(Lexeme::end, {});
  return true;
}

void Lexer::push(Lexeme kind, Text text) {
  tokens_.push_back({kind, gap_, text});
  gap_ = Gap::none;
}

bool Lexer::lex(Text text, int depth) {
  const auto take = [&](std::size_t size, Lexeme kind) {
    push(kind, text.substr(0, size));
    text.remove_prefix(size);
  };
  while (!text.empty()) {
    if (tokens_.size() >= kMaxTokens) return false;
    const char c = text.front();
    const bool point = c == '.' && text.size() > 1 && is_digit(text[1]);
    if (is_space(c) || c == '~') {
      gap_ = Gap::blank;
      text.remove_prefix(1);
    } else if (text.starts_with("{}")) {  // shows nothing
      if (gap_ == Gap::none) gap_ = Gap::thin;
      text.remove_prefix(2);
    } else if (text.starts_with("{:}")) {
      push(Lexeme::sign, text.substr(1, 1));
      text.remove_prefix(3);
    } else if (is_digit(c) || point) {
      std::size_t size = 0;
      while (size < text.size() && is_digit(text[size])) ++size;
      if (size + 1 < text.size() && text[size] == '.' && is_digit(text[size + 1])) {
        for (++size; size < text.size() && is_digit(text[size]);) ++size;
      } else if (size < text.size() && text[size] == '.' &&
                 (text.substr(size + 1).starts_with("\\overline") ||
                  text.substr(size + 1).starts_with("\\bar"))) {
        ++size;  // 0.\overline{3}
      } else if (size < text.size() && text[size] == '.' &&
                 text.substr(size + 1).starts_with("\\dot")) {
        ++size;
      } else if (size < text.size() && text[size] == '.' &&
                 text.substr(size + 1).starts_with("(")) {
        ++size;
      }
      take(size, Lexeme::number);
    } else if (is_letter(c) || (c & 0x80) != 0) {
      std::size_t size = 1;
      const bool high = (c & 0x80) != 0;
      while (size < text.size() && (high ? (text[size] & 0x80) != 0 : is_letter(text[size])))
        ++size;
      take(size, high ? Lexeme::words : Lexeme::word);
    } else if (c == '\\') {
      text.remove_prefix(1);
      if (!command(text, depth)) return false;
    } else if (c == '$') {
      const bool money = dollars_are_money_ && text.size() > 1 &&
                         (is_digit(text[1]) || text[1] == '.' || text[1] == ' ');
      if (money) push(Lexeme::command, "$");
      if (!money && gap_ == Gap::none) gap_ = Gap::thin;
      text.remove_prefix(1);
    } else {
      const Text two = text.substr(0, 2);
      const bool pair = two == "<=" || two == ">=" || two == "!=" || two == "==" || two == "**";
      take(pair ? 2 : 1, Lexeme::sign);
    }
  }
  return true;
}

bool Lexer::command(Text& text, int depth) {
  if (text.empty()) return push(Lexeme::sign, "\\"), true;
  if (!is_letter(text.front())) {
    const Text name = text.substr(0, 1);
    text.remove_prefix(1);
    switch (name[0]) {
      case ' ':
      case '(':
      case ')':
      case '[':
      case ']':
      case '\n':
        gap_ = Gap::blank;
        return true;
      case ',':
      case ';':
      case ':':
      case '>':
        if (gap_ == Gap::none) gap_ = Gap::thin;
        return true;
      case '!':
      case '-':
      case '/':
        return true;
      case '%':
      case '_':
      case '&':
      case '#':
      case '.':
        return push(Lexeme::sign, name), true;
      default:
        return push(Lexeme::command, name), true;
    }
  }
  std::size_t size = 0;
  while (size < text.size() && is_letter(text[size])) ++size;
  const Text name = text.substr(0, size);
  text.remove_prefix(size);
  if (text.starts_with('*')) text.remove_prefix(1);  // \operatorname*
  if (contains(kText, name)) {
    Text body;
    return !take_braced(text, body) || wrapped_text(body, depth + 1);
  }
  if (contains(kIgnored, name)) {
    // \left. and \right. are brackets that are not there
    if ((name == "left" || name == "right") && text.starts_with('.')) text.remove_prefix(1);
    Text body, rest = text;
    if (name == "mathbf" && take_braced(rest, body) && body.size() == 1 &&
        Text("NZQRC").find(body[0]) != Text::npos) {
      text = rest;
      push(Lexeme::command, "mathbb");
      push(Lexeme::word, body);
    }
    if (gap_ == Gap::none && name == "boxed") gap_ = Gap::thin;
    return true;
  }
  if (name == "color" || name == "textcolor") {
    Text colour;
    take_braced(text, colour);
    return true;
  }
  if (name == "colon") return push(Lexeme::sign, ":"), true;
  if (contains(kBlanks, name)) return gap_ = Gap::blank, true;
  if (contains(kThin, name)) return gap_ = Gap::thin, true;
  if (name == "mathbb") {
    Text body;
    Text rest = text;
    if (!take_braced(rest, body)) {
      while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
      body = rest.substr(0, 1);
      rest.remove_prefix(body.size());
    }
    text = rest;
    push(Lexeme::command, name);
    push(Lexeme::word, trim(body));
    return true;
  }
  push(Lexeme::command, name);
  return true;
}

/// \text{...} may hold words, a unit, a connective, or mathematics after all.
bool Lexer::wrapped_text(Text body, int depth) {
  const Text inner = trim(body);
  if (inner.empty()) return gap_ = Gap::blank, true;
  const bool connective = inner == "and" || inner == "or" || inner == "if" || inner == "mod" ||
                          inner == "lcm" || inner == "gcd" || inner == "(mod" || inner.size() == 1;
  if (is_wordy(inner) && !connective && inner.size() > 3) {
    if (body.front() != inner.front() && gap_ == Gap::none) gap_ = Gap::blank;
    return push(Lexeme::words, inner), true;
  }
  if (is_wordy(inner) && !connective && std::all_of(inner.begin(), inner.end(), is_letter)) {
    return push(Lexeme::words, inner), true;
  }
  if (depth > 8) return push(Lexeme::words, inner), true;
  if (gap_ == Gap::none && body.front() != inner.front()) gap_ = Gap::blank;
  const bool fine = lex(body, depth);
  if (body.back() != inner.back()) gap_ = Gap::blank;
  return fine;
}

}  // namespace r1::math
