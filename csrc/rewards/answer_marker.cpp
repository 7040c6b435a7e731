#include "csrc/rewards/answer_marker.h"

#include <algorithm>
#include <array>

#include "csrc/rewards/prose.h"
#include "csrc/rewards/scan.h"

namespace r1 {
namespace {

using Text = std::string_view;

constexpr std::size_t kReach = 2'048;  // bytes from the end in which a marker counts

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
  const Text formula = find_formula(line, true);
  if (formula.data() != nullptr) return formula;
  return last_number && is_sentence(last_line(text)) ? last_number_of(line) : Text{};
}

}  // namespace r1
