#pragma once
#include <cstring>
#include <string_view>

#include "csrc/rewards/text.h"

namespace r1 {

/// Where `token` last begins before `end`; npos where it does not. Looks for its first character
/// with memrchr, some ten bytes a nanosecond: fast where that character is rare.
inline std::size_t rfind_token(std::string_view text, std::string_view token,
                               std::size_t end = std::string_view::npos) noexcept {
  for (std::size_t size = end < text.size() ? end : text.size();;) {
    const void* found = memrchr(text.data(), token[0], size);
    if (found == nullptr) return std::string_view::npos;
    size = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
    if (text.substr(size).starts_with(token)) return size;
  }
}

/// The bytes between the brace at `open` and its partner; null where it has none. `\{` is no brace.
inline std::string_view braced(std::string_view text, std::size_t open) noexcept {
  int depth = 0;
  for (std::size_t at = open; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '{') {
      ++depth;
    } else if (text[at] == '}' && --depth == 0) {
      return text.substr(open + 1, at - open - 1);
    }
  }
  return {};
}

/// Whether `text` starts with `prefix`, in upper or lower case; `prefix` is lower case.
inline bool starts_with_folded(std::string_view text, std::string_view prefix) noexcept {
  if (text.size() < prefix.size()) return false;
  for (std::size_t k = 0; k < prefix.size(); ++k) {
    if (to_lower(text[k]) != prefix[k]) return false;
  }
  return true;
}

/// The last line of a text that is not blank, trimmed.
inline std::string_view last_line(std::string_view text) noexcept {
  text = trim(text);
  const std::size_t end = text.rfind('\n');
  return trim(end == text.npos ? text : text.substr(end + 1));
}

}  // namespace r1
