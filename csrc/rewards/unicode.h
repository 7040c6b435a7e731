#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace r1 {

struct CodePoint {
  char32_t code;
  std::size_t size;  // bytes read, >= 1
};

/// Reads the code point at `at`, which must be inside the text. Any bytes are accepted: one that
/// begins no well-formed sequence is U+FFFD by itself; a lone surrogate in three bytes, as Python's
/// "surrogatepass" writes it, is read as such.
constexpr CodePoint decode_utf8(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  constexpr CodePoint kBroken = {U'\uFFFD', 1};
  if (lead < 0xC2 || lead > 0xF4 || size > text.size() - at) return kBroken;
  char32_t code = lead & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0u) != 0x80) return kBroken;
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  const char32_t least = size == 2 ? 0x80 : size == 3 ? 0x800 : 0x10000;
  if (code < least || code > 0x10FFFF) return kBroken;
  return {code, size};
}

/// Blank in any script, as Python's str.isspace has it.
constexpr bool is_unicode_space(char32_t c) noexcept {
  return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85 ||
         c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

/// The script of a letter; or why a code point is none.
enum class Script : std::uint8_t {
  none,    // punctuation, digits, symbols, emoji, blanks
  mark,    // belongs to the letter before it
  hidden,  // shows nothing: zero-width and bidirectional controls, soft hyphen, blank letters
  latin,
  greek,
  cyrillic,
  armenian,
  georgian,
  hebrew,
  arabic,
  devanagari,
  bengali,
  gurmukhi,
  gujarati,
  oriya,
  tamil,
  telugu,
  kannada,
  malayalam,
  sinhala,
  thai,
  lao,
  myanmar,
  khmer,
  tibetan,
  mongolian,
  ethiopic,
  hangul,
  hiragana,
  katakana,
  han,
  other,  // a letter of any script that no supported language is written in
};
inline constexpr std::size_t kScripts = static_cast<std::size_t>(Script::other) + 1;

/// Looks code points up in the table made from Python's Unicode database. Remembers the range of
/// the last one, since the next is mostly in it too.
class ScriptFinder {
 public:
  Script operator()(char32_t code) noexcept {
    if (code < 0x80) {
      const char32_t lower = code | 0x20;
      return lower >= 'a' && lower <= 'z' ? Script::latin : Script::none;
    }
    if (code < first_ || code > last_) look_up(code);
    return script_;
  }

 private:
  void look_up(char32_t code) noexcept;

  char32_t first_ = 1, last_ = 0;  // of the range of script_
  Script script_ = Script::none;
};

/// Han and kana, where a character is a word for our purposes.
constexpr bool is_ideograph(Script script) noexcept {
  return script == Script::han || script == Script::hiragana || script == Script::katakana;
}

/// Written without blanks between words, by letters.
constexpr bool is_unspaced(Script script) noexcept {
  return script == Script::thai || script == Script::lao || script == Script::myanmar ||
         script == Script::khmer;
}

}  // namespace r1
