#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace r1 {

/// The two shapes a completion is asked for. Blanks may stand anywhere outside the tags.
///
///     think_answer   <think> text </think> <answer> text </answer>     (DeepSeek-R1-Zero, table 1)
///     think_summary  <think> text </think> text                        (from the cold start on)
enum class ThinkStyle : std::uint8_t { think_answer, think_summary };

/// The first rule a completion breaks, in the order of its text.
enum class FormatFault : std::uint8_t {
  none,
  text_before_think,
  no_think,         // <think> is missing, or another tag comes first
  no_think_end,     // </think> is missing, or another tag comes first
  empty_think,      // nothing but blanks inside
  text_between,     // between </think> and <answer>
  no_answer_open,   // <answer> is missing, or another tag comes first
  no_answer_close,  // </answer> is missing, or another tag comes first
  empty_answer,
  text_after_answer,
  repeated_tag,  // a tag that has had its turn
  empty_summary,
};
inline constexpr int kFormatFaults = static_cast<int>(FormatFault::empty_summary) + 1;

/// One phrase per fault, fit for a report; "ok" for none.
std::string_view phrase(FormatFault fault) noexcept;

/// Checks a completion against the template: every tag exactly once, in order, with something in
/// it, and nothing but blanks outside. In think_summary, `<answer>` is ordinary text.
///
/// Tags are the exact lower-case bytes. One pass that ends at the first fault; any bytes are
/// accepted; allocates nothing.
FormatFault check_think_format(std::string_view text, ThinkStyle style) noexcept;

/// How many of the four tags <think> </think> <answer> </answer> occur exactly once: 0 to 4.
/// Order is not looked at (open-r1's tag count, a softer signal early in training).
int count_single_tags(std::string_view text) noexcept;

}  // namespace r1
