#pragma once
#include <string_view>

namespace r1 {

/// Blank as this library understands it: the six ASCII characters, whatever the locale says.
constexpr bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

constexpr std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

constexpr bool is_blank(std::string_view text) noexcept { return trim(text).empty(); }

}  // namespace r1
