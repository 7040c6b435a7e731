#include "csrc/rewards/answer.h"

#include "csrc/rewards/text.h"

namespace r1 {
namespace {

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";
constexpr std::string_view kAnswerOpen = "<answer>", kAnswerClose = "</answer>";
constexpr std::string_view kGoldMark = "####";

// A truncated completion has at most a few boxes left open. The bound keeps ten thousand of them
// from costing a pass over the text each.
constexpr int kMaxOpenBoxes = 16;

/// The text between the brace before `begin` and its partner; null where it has none.
std::string_view braced(std::string_view text, std::size_t begin) noexcept {
  int depth = 1;
  for (std::size_t at = begin; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;  // skips an escaped brace
    } else if (text[at] == '{') {
      ++depth;
    } else if (text[at] == '}' && --depth == 0) {
      return text.substr(begin, at - begin);
    }
  }
  return {};
}

std::string_view last_box(std::string_view text) noexcept {
  // "box" ends both names; `\boxed` alone is longer.
  std::size_t end = text.npos;
  for (int open = 0; open < kMaxOpenBoxes;) {
    const std::size_t brace = text.rfind("box", end);
    if (brace == text.npos || brace == 0) return {};
    end = brace - 1;
    for (const std::string_view name :
         {std::string_view("\\boxed{"), std::string_view("\\fbox{")}) {
      const std::size_t offset = name.find("box");
      if (brace < offset || !text.substr(brace - offset).starts_with(name)) continue;
      const std::string_view body = braced(text, brace - offset + name.size());
      if (body.data() != nullptr) return trim(body);
      ++open;
    }
  }
  return {};
}

std::string_view last_answer_tag(std::string_view text) noexcept {
  const std::size_t close = text.rfind(kAnswerClose);
  if (close == text.npos) return {};
  const std::size_t open = text.rfind(kAnswerOpen, close);
  if (open == text.npos) return {};
  const std::size_t begin = open + kAnswerOpen.size();
  const std::string_view body = text.substr(begin, text.find(kAnswerClose, begin) - begin);
  const std::string_view box = last_box(body);
  return box.data() != nullptr ? box : trim(body);
}

std::string_view last_gold_mark(std::string_view text) noexcept {
  const std::size_t mark = text.rfind(kGoldMark);
  if (mark == text.npos) return {};
  const std::string_view rest = text.substr(mark + kGoldMark.size());
  return trim(rest.substr(0, rest.find('\n')));
}

}  // namespace

std::string_view find_answer(std::string_view completion) noexcept {
  const std::size_t thought = completion.rfind(kThinkClose);
  const bool closed = thought != completion.npos;
  const std::string_view text =
      closed ? completion.substr(thought + kThinkClose.size()) : completion;

  const std::string_view tagged = last_answer_tag(text);
  if (tagged.data() != nullptr) return tagged;
  if (!closed && text.find(kThinkOpen) != text.npos) return {};
  return last_box(text);
}

std::string_view find_gold_answer(std::string_view gold) noexcept {
  const std::string_view answer = find_answer(gold);
  if (answer.data() != nullptr) return answer;
  const std::string_view marked = last_gold_mark(gold);
  return marked.data() != nullptr ? marked : trim(gold);
}

}  // namespace r1
