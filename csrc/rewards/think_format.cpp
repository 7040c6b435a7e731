#include "csrc/rewards/think_format.h"

#include "csrc/rewards/text.h"

namespace r1 {
namespace {

constexpr std::array<std::string_view, 4> kTags = {"<think>", "</think>", "<answer>", "</answer>"};
constexpr std::array<FormatFault, 4> kMissing = {FormatFault::no_think, FormatFault::no_think_end,
                                                 FormatFault::no_answer_open,
                                                 FormatFault::no_answer_close};

struct Tag {
  std::size_t index;  // in kTags; kTags.size() where there is none
  std::size_t begin;
};

/// The first of the leading `count` kinds of tag at or after `from`.
Tag next_tag(std::string_view text, std::size_t from, std::size_t count) noexcept {
  for (std::size_t at = text.find('<', from); at != text.npos; at = text.find('<', at + 1)) {
    for (std::size_t index = 0; index < count; ++index) {
      if (text.substr(at).starts_with(kTags[index])) return {index, at};
    }
  }
  return {kTags.size(), text.size()};
}

/// Judges the text that comes before the tag of that index: blank outside, not blank inside.
FormatFault check_before(std::size_t index, std::string_view text) noexcept {
  const bool blank = is_blank(text);
  switch (index) {
    case 0:
      return blank ? FormatFault::none : FormatFault::text_before_think;
    case 1:
      return blank ? FormatFault::empty_think : FormatFault::none;
    case 2:
      return blank ? FormatFault::none : FormatFault::text_between;
    default:
      return blank ? FormatFault::empty_answer : FormatFault::none;
  }
}

}  // namespace

std::string_view phrase(FormatFault fault) noexcept {
  static constexpr std::array<std::string_view, kFormatFaults> kPhrases = {
      "ok",
      "text before <think>",
      "no <think> where it belongs",
      "no </think> where it belongs",
      "nothing inside <think>",
      "text between </think> and <answer>",
      "no <answer> where it belongs",
      "no </answer> where it belongs",
      "nothing inside <answer>",
      "text after </answer>",
      "a tag twice",
      "nothing after </think>",
  };
  return kPhrases[static_cast<std::size_t>(fault)];
}

FormatFault check_think_format(std::string_view text, ThinkStyle style) noexcept {
  const bool summary = style == ThinkStyle::think_summary;
  const std::size_t count = summary ? 2 : kTags.size();
  std::size_t begin = 0;  // of the text since the last tag
  for (std::size_t expected = 0; expected < count; ++expected) {
    const Tag tag = next_tag(text, begin, count);
    if (tag.index < expected) return FormatFault::repeated_tag;
    if (tag.index > expected) return kMissing[expected];
    const FormatFault fault = check_before(expected, text.substr(begin, tag.begin - begin));
    if (fault != FormatFault::none) return fault;
    begin = tag.begin + kTags[expected].size();
  }
  if (next_tag(text, begin, count).index < count) return FormatFault::repeated_tag;
  const bool blank = is_blank(text.substr(begin));
  if (summary) return blank ? FormatFault::empty_summary : FormatFault::none;
  return blank ? FormatFault::none : FormatFault::text_after_answer;
}

int count_single_tags(std::string_view text) noexcept {
  std::array<std::size_t, kTags.size()> seen{};
  for (std::size_t from = 0;;) {
    const Tag tag = next_tag(text, from, kTags.size());
    if (tag.index == kTags.size()) break;
    ++seen[tag.index];
    from = tag.begin + kTags[tag.index].size();
  }
  int single = 0;
  for (const std::size_t times : seen) single += times == 1;
  return single;
}

}  // namespace r1
