#include "csrc/rewards/choice_letters.h"

#include <array>

#include "csrc/rewards/scan.h"

namespace r1 {
namespace {

using Text = std::string_view;

// Blanks, brackets, fonts and words that may stand before a letter.
constexpr auto kOpenings = std::to_array<Text>({"\\textbf{",
                                                "\\text{",
                                                "\\mathrm{",
                                                "\\mathbf{",
                                                "\\textit{",
                                                "\\boxed{",
                                                "\\fbox{",
                                                "\\mbox{",
                                                "\\(",
                                                "\\[",
                                                "\\ ",
                                                "\\,",
                                                "**",
                                                "__",
                                                "(",
                                                "[",
                                                "{",
                                                "$",
                                                "*",
                                                "_",
                                                "`",
                                                "\"",
                                                "'",
                                                ":",
                                                "<",
                                                "\xef\xbc\x88",
                                                "\xef\xbc\x9a",
                                                "\xe3\x80\x90",
                                                "\xe2\x80\x9c",
                                                "\xe2\x80\x98"});
constexpr auto kWords = std::to_array<Text>({"option ",
                                             "options ",
                                             "choice ",
                                             "choices ",
                                             "letter ",
                                             "answer ",
                                             "opci\xc3\xb3n ",
                                             "la ",
                                             "die ",
                                             "antwort ",
                                             "r\xc3\xa9ponse ",
                                             "l'option ",
                                             "the ",
                                             "alternative ",
                                             "statement ",
                                             "\xe9\x80\x89\xe9\xa1\xb9",
                                             "\xe9\x80\x89\xe6\x8b\xa9",
                                             "\xe9\x80\x89",
                                             "option",
                                             "choice",
                                             "le choix ",
                                             "choix "});

/// The letter at the front, in ASCII or full width; its length in bytes goes to `size`.
char letter_at(Text text, std::size_t& size) noexcept {
  size = 1;
  if (text.empty()) return 0;
  if (is_letter(text[0])) return text[0];
  const bool wide = text.size() >= 3 && text[0] == '\xef' && text[1] == '\xbc';
  const auto low = static_cast<unsigned char>(wide ? text[2] : 0);
  if (low < 0xa1 || low > 0xba) return 0;  // U+FF21 to U+FF3A
  size = 3;
  return static_cast<char>('A' + (low - 0xa1));
}

bool skip_opening(Text& text) noexcept {
  for (const Text opening : kOpenings) {
    if (!text.starts_with(opening)) continue;
    text.remove_prefix(opening.size());
    return true;
  }
  for (const Text word : kWords) {
    if (!starts_with_folded(text, word)) continue;
    text.remove_prefix(word.size());
    return true;
  }
  return false;
}

/// Whether what follows a letter lets it be an option: no word, and no article's noun.
bool may_follow(char letter, Text rest, bool lower_case_letter) noexcept {
  if (rest.empty()) return true;
  const char next = rest[0];
  if (is_letter(next) || is_digit(next) || next == '_' || next == '^' || next == '=') return false;
  if (next == '\'' || rest.starts_with("\xe2\x80\x99")) return false;  // "I'm"
  if ((next == '-' || next == '+') && rest.size() > 1 && !is_space(rest[1])) return false;
  if (!is_space(next) || next == '\n') return true;
  const Text after = trim(rest);
  if (after.empty()) return true;
  if (lower_case_letter) return false;
  // "A triangle", "I think": a lower-case word behind, unless it is one that speaks of the option.
  if (letter != 'A' && letter != 'I') return true;
  if (!(after[0] >= 'a' && after[0] <= 'z')) return true;
  for (const Text word : {Text("is "), Text("and "), Text("or "), Text("because"), Text("since"),
                          Text("as "), Text("with ")}) {
    if (after.starts_with(word)) return letter == 'A';
  }
  return false;
}

/// Reads one letter off the front, with what stands around it.
Letters take_letter(Text& text, int options, bool lower_case) noexcept {
  Text rest = text;
  bool bracket = false;
  for (;;) {
    while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    const char first = rest.empty() ? 0 : rest.front();
    if (!skip_opening(rest)) break;
    bracket = first == '(' || first == '[' || first == '{' || first == '\\';
  }
  std::size_t size = 0;
  const char letter = letter_at(rest, size);
  if (letter == 0) return 0;
  const bool lower = letter >= 'a';
  if (lower && !lower_case) return 0;
  const int index = to_lower(letter) - 'a';
  if (index >= options) return 0;
  const Text behind = rest.substr(size);
  const bool closed =
      bracket && !behind.empty() && (behind[0] == ')' || behind[0] == ']' || behind[0] == '}');
  if (!closed && !may_follow(letter, behind, lower)) return 0;
  text = behind;
  return Letters{1} << index;
}

/// Skips what may stand between two letters: brackets, fonts, a comma, "and", "or", a slash.
bool skip_between(Text& text) noexcept {
  static constexpr auto kClosings =
      std::to_array<Text>({")", "]", "}", "**", "*", "$", "`", "\"", "'", "\\)", "\xef\xbc\x89"});
  static constexpr auto kJoints = std::to_array<Text>(
      {", and ", ", or ", " and ", " or ", ",", "/", "&", " & ", " et ", " und ", " y ", " oder ",
       " ou ", " o ", "\xe3\x80\x81", "\xe5\x92\x8c", "\xe6\x88\x96", "+"});
  Text rest = text;
  for (bool closing = true; closing;) {
    closing = false;
    for (const Text token : kClosings) {
      if (!rest.starts_with(token)) continue;
      rest.remove_prefix(token.size());
      closing = true;
    }
  }
  for (const Text joint : kJoints) {
    if (!rest.starts_with(joint)) continue;
    text = rest.substr(joint.size());
    return true;
  }
  return false;
}

}  // namespace

Letters leading_letters(Text text, int options, bool lower_case) noexcept {
  Letters found = take_letter(text, options, lower_case);
  if (found == 0) return 0;
  for (int more = 0; more < 26; ++more) {
    Text rest = text;
    if (!skip_between(rest)) break;
    const Letters next = take_letter(rest, options, lower_case);
    if (next == 0) break;
    found |= next;
    text = rest;
  }
  return found;
}

Letters only_letters(Text text, int options) noexcept {
  text = trim(text);
  Letters run = 0;
  for (const char c : text) {
    const int index = c - 'A';
    if (index < 0 || index >= options || (run >> index) != 0) {  // in order, each once
      return leading_letters(text, options, text.size() <= 4);
    }
    run |= Letters{1} << index;
  }
  return run;
}

}  // namespace r1
