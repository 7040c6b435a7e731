#pragma once
#include <string_view>

namespace r1 {

/// Blank as this library understands it: the six ASCII characters, whatever the locale says.
constexpr bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

constexpr bool is_letter(char c) noexcept { return (c | 32) >= 'a' && (c | 32) <= 'z'; }

constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

/// A letter, or a byte of a character beyond ASCII.
constexpr bool is_word_byte(char c) noexcept { return is_letter(c) || (c & 0x80) != 0; }

/// ASCII that is neither blank, letter nor digit.
constexpr bool is_punctuation(char c) noexcept {
  return c > ' ' && c < 127 && !is_letter(c) && !is_digit(c);
}

constexpr std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

constexpr bool is_blank(std::string_view text) noexcept { return trim(text).empty(); }

}  // namespace r1
