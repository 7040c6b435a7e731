#include "csrc/rewards/answer_marker.h"

#include <algorithm>
#include <array>

#include "csrc/rewards/scan.h"

namespace r1 {
namespace {

using Text = std::string_view;

constexpr std::size_t kReach = 2'048;  // bytes from the end in which a marker counts

bool is_word_byte(char c) noexcept { return is_letter(c) || (c & 0x80) != 0; }

Text skip_any(Text text, Text characters) noexcept {
  while (!text.empty() && characters.find(text.front()) != Text::npos) text.remove_prefix(1);
  return text;
}

/// The text behind a marker that begins at `at`; null where none does.
Text behind_marker(Text text, std::size_t at) noexcept {
  const Text rest = text.substr(at);
  if (rest.starts_with("####")) return rest.substr(4);
  if (rest.starts_with("\u7b54\u6848"))
    return skip_chinese_copula(rest.substr(6));  // "answer" in Chinese
  if (rest.starts_with("A:") && (at == 0 || text[at - 1] == '\n')) return rest.substr(2);
  const bool inside = at > 0 && is_word_byte(text[at - 1]);
  if (inside) return {};
  for (const Text word : {Text("answer"), Text("r\u00e9ponse"), Text("reponse"), Text("antwort"),
                          Text("respuesta"), Text("solution"), Text("l\u00f6sung")}) {
    if (!starts_with_folded(rest, word)) continue;
    Text tail = rest.substr(word.size());
    if (tail.starts_with('s') || tail.starts_with('S')) tail.remove_prefix(1);
    if (!tail.empty() && is_word_byte(tail.front())) continue;
    // A heading: "# Answer", "**Final Answer**" alone on its line.
    const std::size_t newline = at == 0 ? Text::npos : text.rfind('\n', at - 1);
    const std::size_t begin = newline == Text::npos ? 0 : newline + 1;
    const Text front = trim(text.substr(begin, at - begin));
    const Text line_end = skip_any(tail, " \t*_:#");
    const bool heading = (front.starts_with('#') || front.starts_with("**")) &&
                         (line_end.empty() || line_end.front() == '\n' || line_end.front() == '\r');
    if (heading) return line_end;
    return skip_announcing_words(tail);
  }
  return {};
}

bool could_mark(char c) noexcept {
  switch (c) {
    case '#':
    case 'a':
    case 'A':
    case 'r':
    case 'R':
    case 's':
    case 'S':
    case 'l':
    case 'L':
    case '\xe7':
      return true;
    default:
      return false;
  }
}

/// The end of a sentence in a line: a full stop before a blank, but not that of "p.m.".
std::size_t sentence_end(Text line) noexcept {
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line.substr(at).starts_with("\u3002")) return at;
    if (line[at] != '.' && line[at] != '!') continue;
    if (at + 1 < line.size() && !is_space(line[at + 1])) continue;
    if (line[at] == '!' && at > 0 && (is_digit(line[at - 1]) || line[at - 1] == ')'))
      continue;  // a factorial
    const bool initial = at >= 2 && line[at - 2] == '.';
    const bool clock =
        at >= 1 && to_lower(line[at - 1]) == 'm' &&
        (initial || (at >= 2 && to_lower(line[at - 2]) != 'c' && line[at - 2] == '.'));
    if (clock && at + 1 < line.size()) continue;
    if (line[at] == '.' && at > 0 && is_digit(line[at - 1]) &&
        trim(line.substr(0, at)).size() <= 2 && at + 1 < line.size() &&
        line.find_first_of("0123456789$\\", at + 1) != Text::npos && at < 2)
      continue;
    return at;
  }
  return line.size();
}

/// The first stretch of formulas between $..$, $$..$$, \(..\), \[..\]; those that only "and", "or"
/// or a comma part are one stretch. Null where there is none.
Text first_formula(Text text, bool last) noexcept {
  Text best;
  for (std::size_t at = 0; at < text.size();) {
    Text open, close;
    const Text rest = text.substr(at);
    if (rest.starts_with("$$")) {
      open = close = "$$";
    } else if (rest.starts_with('$')) {
      open = close = "$";
    } else if (rest.starts_with("\\(")) {
      open = "\\(", close = "\\)";
    } else if (rest.starts_with("\\[")) {
      open = "\\[", close = "\\]";
    } else {
      at += rest.front() == '\\' ? 2 : 1;
      continue;
    }
    const std::size_t end = rest.find(close, open.size());
    if (end == rest.npos) {
      at += open.size();
      continue;
    }
    const std::size_t after = end + close.size();
    const bool money = open == "$" && after < rest.size() && is_digit(rest[after]);
    if (money || trim(rest.substr(open.size(), end - open.size())).empty()) {
      at += open.size();
      continue;
    }
    const Text found = rest.substr(0, after);
    if (best.data() != nullptr) {
      const auto gap = static_cast<std::size_t>(found.data() - best.data()) - best.size();
      const Text between =
          trim(text.substr(static_cast<std::size_t>(best.data() - text.data()) + best.size(), gap));
      const bool joined = between == "and" || between == "or" || between == "," ||
                          between == ", and" || between == ", or" || between == "\u548c" ||
                          between == "\u6216";
      if (joined) {
        best = {best.data(), best.size() + gap + found.size()};
      } else if (last) {
        best = found;
      } else {
        return best;
      }
    } else {
      best = found;
    }
    at += after;
  }
  return best;
}

/// The last number of a line, with its sign, currency and percent sign.
Text last_number_of(Text line) noexcept {
  for (std::size_t end = line.size(); end > 0; --end) {
    if (!is_digit(line[end - 1])) continue;
    std::size_t begin = end;
    while (begin > 0) {
      const char c = line[begin - 1];
      const bool inner = (c == '.' || c == ',' || c == '/') && begin > 1 &&
                         is_digit(line[begin - 2]) && is_digit(line[begin]);
      if (!is_digit(c) && !inner &&
          !(c == '.' && is_digit(line[begin]) && (begin == 1 || is_space(line[begin - 2]))))
        break;
      --begin;
    }
    // "3. Then" and "Step 3:" number something else.
    const bool listed =
        (begin == 0 || line[end < line.size() ? end : begin] == ':') && end < line.size() &&
        (line[end] == '.' || line[end] == ')' || line[end] == ':') && end + 1 < line.size();
    const bool in_word = begin > 0 && is_word_byte(line[begin - 1]);
    if (listed || in_word) {
      end = begin + 1;
      continue;
    }
    if (begin > 0 && line[begin - 1] == '$') --begin;
    const bool sign = begin > 0 && line[begin - 1] == '-' &&
                      (begin == 1 || is_space(line[begin - 2]) || line[begin - 2] == '(' ||
                       line[begin - 2] == '=');
    if (sign) --begin;
    if (end < line.size() && line[end] == '%') ++end;
    if (end + 1 < line.size() && line[end] == '\\' && line[end + 1] == '%') end += 2;
    return line.substr(begin, end - begin);
  }
  return {};
}

/// Whether a stretch reads as prose: two words, or a word and something else, where a formula has
/// only commands, functions and single letters.
bool is_prose(Text text) noexcept {
  static constexpr auto kMath =
      std::to_array<Text>({"sin", "cos", "tan", "log", "ln", "sqrt", "pi", "and", "or", "max",
                           "min", "gcd", "lcm", "mod", "exp", "abs", "cot", "sec", "csc"});
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '\\') {
      ++at;
      while (at < text.size() && is_letter(text[at])) ++at;
      const Text rest = text.substr(at);
      if (rest.starts_with('{') &&
          (text.substr(0, at).ends_with("text") || text.substr(0, at).ends_with("mathrm") ||
           text.substr(0, at).ends_with("mbox") || text.substr(0, at).ends_with("begin") ||
           text.substr(0, at).ends_with("end"))) {
        const Text body = braced(text, at);
        if (body.data() != nullptr) at += body.size() + 2;
      } else if (at < text.size() && !is_letter(text[at]) && text[at] != '{') {
        ++at;
      }
      continue;
    }
    if (!is_word_byte(text[at])) {
      ++at;
      continue;
    }
    const std::size_t begin = at;
    while (at < text.size() && is_word_byte(text[at])) ++at;
    const Text word = text.substr(begin, at - begin);
    if (word.size() >= 2 && std::find(kMath.begin(), kMath.end(), word) == kMath.end() &&
        !(word.size() <= 3 && begin > 0 && is_digit(text[begin - 1])))
      return true;
  }
  return false;
}

/// Whether a line was brought to its end. One that the length limit cut off says nothing yet: "she
/// pays 5 * 1".
bool is_sentence(Text line) noexcept {
  while (line.ends_with('*') || line.ends_with('_') || line.ends_with(')') || line.ends_with('"')) {
    line.remove_suffix(1);
  }
  return line.ends_with('.') || line.ends_with('!') || line.ends_with("\u3002");
}

bool starts_as_prose(Text text) noexcept {
  std::size_t size = 0;
  while (size < text.size() && is_word_byte(text[size])) ++size;
  return size >= 2 && size < text.size() && is_space(text[size]) && is_prose(text.substr(0, size));
}

Text strip_markup(Text text) noexcept {
  for (bool changed = true; changed;) {
    const std::size_t before = text.size();
    text = trim(text);
    for (const Text mark : {Text("**"), Text("__"), Text("`"), Text("\"")}) {
      if (text.starts_with(mark)) text.remove_prefix(mark.size());
      if (text.ends_with(mark)) text.remove_suffix(mark.size());
    }
    if (text.ends_with('.') && !text.ends_with("..") && !text.ends_with("m."))
      text.remove_suffix(1);
    if (text.ends_with("\u3002")) text.remove_suffix(3);
    changed = text.size() != before;
  }
  return text;
}

/// Drops words that only qualify: "about", "approximately", "equal to".
Text skip_qualifiers(Text text) noexcept {
  static constexpr auto kQualifiers = std::to_array<Text>(
      {"about ", "approximately ", "exactly ", "roughly ", "around ", "therefore ", "thus ",
       "simply ", "indeed ", "equal to ", "just ", "that ", "given by ", "therefore, ", "option ",
       "\\approx ", "probably ", "only ", "actually "});
  for (bool changed = true; changed;) {
    changed = false;
    for (const Text word : kQualifiers) {
      if (!starts_with_folded(text, word)) continue;
      text = trim(text.substr(word.size()));
      changed = true;
    }
  }
  return text;
}

}  // namespace

Text skip_announcing_words(Text text) noexcept {
  static constexpr auto kVerbs = std::to_array<Text>(
      {"is",    "are",       "was",           "be",      "will",    "would",  "should",
       "must",  "therefore", "thus",          "then",    "hence",   "simply", "indeed",
       "also",  "clearly",   "equal",         "equals",  "to",      "given",  "by",
       "found", "the",       "following",     "option",  "est",     "ist",    "lautet",
       "es",    "la",        "final",         "correct", "sont",    "son",    "becomes",
       "comes", "out",       "approximately", "about",   "exactly", "just",   "value",
       "of",    "question",  "problem",       "this",    "your",    "our",    "original"});
  static constexpr auto kSaying = std::to_array<Text>(
      {"is", "are", "was", "be", "est", "ist", "lautet", "es", "sont", "son", "becomes", "equals"});
  bool says = false;
  for (int words = 0; words < 12; ++words) {
    const Text before = text;
    text = skip_any(text, " \t*_`");
    if (text.starts_with("\xef\xbc\x9a")) return text.substr(3);  // a full-width colon
    if (text.starts_with(':') || text.starts_with('=')) return text.substr(1);
    if (!says && text.starts_with('\n') && !before.starts_with('\n')) return {};
    std::size_t size = 0;
    while (size < text.size() && is_letter(text[size])) ++size;
    const auto same = [&](Text verb) {
      return verb.size() == size && starts_with_folded(text, verb);
    };
    if (size == 0 || std::none_of(kVerbs.begin(), kVerbs.end(), same)) return says ? text : Text{};
    // "a" behind "is" may be the answer, "the" may begin it: only words that cannot are skipped.
    says |= std::any_of(kSaying.begin(), kSaying.end(), same);
    text.remove_prefix(size);
  }
  return says ? text : Text{};
}

Text skip_chinese_copula(Text text) noexcept {
  static constexpr auto kVerbs =
      std::to_array<Text>({"\u662f", "\u4e3a", "\u4e3a\uff1a", "\uff1a", ":", "\u7b49\u4e8e"});
  bool says = false;
  for (;;) {
    text = skip_any(text, " \t*_`\n");
    const auto* verb =
        std::find_if(kVerbs.begin(), kVerbs.end(), [&](Text v) { return text.starts_with(v); });
    if (verb == kVerbs.end()) return says ? text : Text{};
    says = true;
    text.remove_prefix(verb->size());
  }
}

Text narrow_to_answer(Text prose, bool last_number) noexcept {
  prose = skip_qualifiers(strip_markup(prose));
  if (!is_prose(prose)) return prose;
  const Text formula = first_formula(prose, false);
  if (formula.data() != nullptr) return formula;
  Text sentence = strip_markup(prose.substr(0, sentence_end(prose)));
  for (const Text cut : {Text(", which"), Text(" because "), Text(", since "), Text(" since "),
                         Text(", because"), Text(", so "), Text(" (")}) {
    const std::size_t at = sentence.find(cut);
    if (at != Text::npos && at > 0) sentence = trim(sentence.substr(0, at));
  }
  if (last_number && starts_as_prose(sentence)) {
    const Text number = last_number_of(sentence);
    if (number.data() != nullptr) return number;
  }
  return sentence;
}

Text find_marked_answer(Text text, bool last_number) noexcept {
  const std::size_t from = text.size() > kReach ? text.size() - kReach : 0;
  for (std::size_t at = text.size(); at > from; --at) {
    if (!could_mark(text[at - 1])) continue;
    Text tail = behind_marker(text, at - 1);
    if (tail.data() == nullptr) continue;
    tail = trim(tail);
    // The value is on this line, or on the next that is not blank; a display may take several.
    std::size_t end = tail.find('\n');
    if (tail.starts_with("$$") || tail.starts_with("\\[")) {
      const std::size_t close = tail.find(tail.starts_with("$$") ? "$$" : "\\]", 2);
      if (close != Text::npos) end = close + 2;
    }
    const Text line = trim(tail.substr(0, end));
    const Text answer = narrow_to_answer(line, last_number);
    if (!trim(answer).empty()) return answer;
  }
  return {};
}

Text find_last_line_answer(Text text, bool last_number) noexcept {
  text = trim(text);
  for (const auto& [open, close] :
       {std::pair(Text("\\["), Text("\\]")), std::pair(Text("$$"), Text("$$"))}) {
    if (!text.ends_with(close) || text.size() < 5) continue;
    const std::size_t begin = text.rfind(open, text.size() - 3);
    if (begin != Text::npos) return trim(text.substr(begin + 2, text.size() - begin - 4));
  }
  const Text line = strip_markup(last_line(text));
  if (line.empty()) return {};
  if (!is_prose(line))
    return line.find_first_of("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") ==
                   Text::npos
               ? Text{}
               : line;
  const Text formula = first_formula(line, true);
  if (formula.data() != nullptr) return formula;
  return last_number && is_sentence(last_line(text)) ? last_number_of(line) : Text{};
}

}  // namespace r1
