#include "csrc/rewards/prose.h"

#include <algorithm>
#include <array>

#include "csrc/rewards/scan.h"

namespace r1 {
namespace {

using Text = std::string_view;

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

bool starts_as_prose(Text text) noexcept {
  std::size_t size = 0;
  while (size < text.size() && is_word_byte(text[size])) ++size;
  return size >= 2 && size < text.size() && is_space(text[size]) && is_prose(text.substr(0, size));
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

bool is_sentence(Text line) noexcept {
  while (line.ends_with('*') || line.ends_with('_') || line.ends_with(')') || line.ends_with('"')) {
    line.remove_suffix(1);
  }
  return line.ends_with('.') || line.ends_with('!') || line.ends_with("\u3002");
}

Text find_formula(Text text, bool last) noexcept {
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

Text narrow_to_answer(Text prose, bool last_number) noexcept {
  prose = skip_qualifiers(strip_markup(prose));
  if (!is_prose(prose)) return prose;
  const Text formula = find_formula(prose, false);
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

}  // namespace r1
