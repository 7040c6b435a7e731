#include "csrc/rewards/answer.h"

#include <algorithm>

#include "csrc/rewards/answer_marker.h"
#include "csrc/rewards/prose.h"
#include "csrc/rewards/scan.h"

namespace r1 {
namespace {

using Text = std::string_view;

constexpr Text kThinkOpen = "<think>", kThinkClose = "</think>";
constexpr Text kAnswerOpen = "<answer>", kAnswerClose = "</answer>";

// A truncated completion has at most a few boxes left open. The bound keeps ten thousand of them
// from costing a pass over the text each.
constexpr int kMaxOpenBoxes = 16;
constexpr int kMaxJoinedBoxes = 16;

struct Box {
  std::size_t begin = 0, end = 0;  // of the command and all
  Text body;                       // null where there is none
};

/// The argument of a box without braces, as TeX reads it: a command with its groups, or digits.
Text bare_argument(Text text, std::size_t at) noexcept {
  std::size_t end = at;
  if (end < text.size() && text[end] == '\\') {
    ++end;
    while (end < text.size() && is_letter(text[end])) ++end;
    while (end < text.size() && text[end] == '{') {
      const Text group = braced(text, end);
      if (group.data() == nullptr) return {};
      end += group.size() + 2;
    }
    while (end < text.size() && is_digit(text[end])) ++end;
  } else {
    while (end < text.size() &&
           (is_digit(text[end]) || (end == at && (is_letter(text[end]) || text[end] == '-'))))
      ++end;
  }
  return end == at ? Text{} : text.substr(at, end - at);
}

/// The box that begins at a backslash; its body is null where none does, or it is never closed.
Box box_at(Text text, std::size_t begin) noexcept {
  const Text rest = text.substr(begin);
  std::size_t size = 0;
  if (rest.starts_with("\\boxed")) size = 6;
  if (rest.starts_with("\\fbox")) size = 5;
  if (size == 0) return {};
  std::size_t at = begin + size;
  while (at < text.size() && is_space(text[at])) ++at;
  Box box{begin, 0, {}};
  if (at < text.size() && text[at] == '{') {
    box.body = braced(text, at);
    box.end = at + box.body.size() + 2;
  } else if (at > begin + size || (at < text.size() && (is_digit(text[at]) || text[at] == '\\'))) {
    box.body = bare_argument(text, at);
    box.end = at + box.body.size();
  } else {
    return {};
  }
  if (box.body.data() == nullptr) box.end = begin + 1;  // left open
  return box;
}

Box last_box_before(Text text, std::size_t end) noexcept {
  for (int open = 0; open < kMaxOpenBoxes;) {
    end = rfind_token(text, "\\", end);
    if (end == text.npos) return {};
    const Box box = box_at(text, end);
    if (box.body.data() != nullptr) return box;
    open += box.end != 0;
  }
  return {};
}

/// Whether a stretch between two boxes joins them: "and", "or", commas, dollars and blanks alone.
bool joins(Text text) noexcept {
  if (text.size() > 40) return false;
  while (!text.empty()) {
    const char c = text.front();
    std::size_t size = 0;
    for (const Text word :
         {Text("\\text{"), Text("\\quad"), Text("\\mbox{"), Text("\\)"), Text("\\("), Text("\\,"),
          Text("\\ "), Text("\\;"), Text("and"), Text("or")}) {
      if (text.starts_with(word)) size = word.size();
    }
    if (is_space(c) || c == ',' || c == ';' || c == '$' || c == '}' || c == '&') size = 1;
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

Text last_box(Text text) noexcept {
  const Box last = last_box_before(text, text.size());
  if (last.body.data() == nullptr) return {};
  std::size_t begin = last.begin;
  bool joined = false;
  for (int k = 0; k < kMaxJoinedBoxes; ++k) {
    const std::size_t from = begin > 4'096 ? begin - 4'096 : 0;  // a box is not longer
    const Box before = last_box_before(text.substr(from), begin - from);
    if (before.body.data() == nullptr || before.end + from > begin) break;
    if (!joins(text.substr(before.end + from, begin - before.end - from))) break;
    if (trim(before.body) != trim(last.body)) joined = true;
    begin = before.begin + from;
  }
  return joined ? text.substr(begin, last.end - begin) : trim(last.body);
}

Text last_answer_tag(Text text, bool last_number) noexcept {
  const std::size_t close = rfind_token(text, kAnswerClose);
  if (close == text.npos) return {};
  const std::size_t open = rfind_token(text, kAnswerOpen, close);
  if (open == text.npos) return {};
  const std::size_t begin = open + kAnswerOpen.size();
  const Text body = text.substr(begin, text.find(kAnswerClose, begin) - begin);
  const Text box = last_box(body);
  if (box.data() != nullptr) return box;
  const Text marked = find_marked_answer(body, last_number);
  if (marked.data() != nullptr) return trim(marked);
  return trim(body.find('\n') == body.npos ? narrow_to_answer(body, last_number) : body);
}

}  // namespace

Text find_answer(Text completion, bool last_number) noexcept {
  const std::size_t thought = rfind_token(completion, kThinkClose);
  const bool closed = thought != completion.npos;
  const Text text = closed ? completion.substr(thought + kThinkClose.size()) : completion;

  const Text tagged = last_answer_tag(text, last_number);
  if (tagged.data() != nullptr) return tagged;
  if (!closed && rfind_token(text, kThinkOpen) != text.npos) return {};
  const Text box = last_box(text);
  if (box.data() != nullptr) return box;
  const Text marked = find_marked_answer(text, last_number);
  if (marked.data() != nullptr) return trim(marked);
  return trim(find_last_line_answer(text, last_number));
}

Text find_gold_answer(Text gold) noexcept {
  gold = trim(gold);
  const Text tagged = last_answer_tag(gold, false);
  if (tagged.data() != nullptr) return tagged;
  const Text box = last_box(gold);
  if (box.data() != nullptr) return box;
  const std::size_t mark = gold.rfind("####");
  if (mark != gold.npos) {
    const Text rest = gold.substr(mark + 4);
    return trim(rest.substr(0, rest.find('\n')));
  }
  if (gold.find('\n') != gold.npos && gold.find("\\begin") == gold.npos) {
    const Text answer = find_answer(gold);
    if (answer.data() != nullptr && !answer.empty()) return answer;
  }
  return gold;
}

}  // namespace r1
