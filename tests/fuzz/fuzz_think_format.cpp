// The format automaton against the template spelled as searches for whole tags.
#include <array>
#include <string>

#include "csrc/rewards/think_format.h"
#include "tests/fuzz/require.h"

namespace {

bool blank(std::string_view text) { return text.find_first_not_of(" \t\n\v\f\r") == text.npos; }

int count(std::string_view text, std::string_view tag) {
  int times = 0;
  for (std::size_t at = text.find(tag); at != text.npos; at = text.find(tag, at + 1)) ++times;
  return times;
}

template <std::size_t n>
bool follows(std::string_view text, const std::array<std::string_view, n>& tags) {
  std::size_t end = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (count(text, tags[i]) != 1) return false;
    const std::size_t at = text.find(tags[i]);
    if (at < end || blank(text.substr(end, at - end)) != (i % 2 == 0)) return false;
    end = at + tags[i].size();
  }
  const bool summary = n == 2;
  return blank(text.substr(end)) != summary;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using r1::FormatFault, r1::ThinkStyle;
  constexpr std::array<std::string_view, 4> kTags = {"<think>", "</think>", "<answer>",
                                                     "</answer>"};
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const FormatFault fault = check_think_format(text, ThinkStyle::think_answer);
  require((fault == FormatFault::none) == follows(text, kTags), "think_answer", text);
  const FormatFault summary = check_think_format(text, ThinkStyle::think_summary);
  require((summary == FormatFault::none) == follows<2>(text, {kTags[0], kTags[1]}), "think_summary",
          text);
  require(!r1::phrase(fault).empty() && !r1::phrase(summary).empty(), "phrase", text);

  int single = 0;
  for (const std::string_view tag : kTags) single += count(text, tag) == 1;
  require(r1::count_single_tags(text) == single, "count_single_tags", text);
  return 0;
}
