#include "csrc/rewards/repetition.h"

#include <algorithm>
#include <bit>

#include "csrc/rewards/unicode.h"

namespace r1 {
namespace {

__extension__ using Wide = unsigned __int128;
constexpr std::uint64_t kPrime = (std::uint64_t{1} << 61) - 1;
constexpr std::uint64_t kBase = 0x0B4E'0EF3'7BC3'2127;  // any number below the prime

/// Splitmix64's finish: every bit of the input moves every bit of the output.
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xBF58'476D'1CE4'E5B9;
  x = (x ^ x >> 27) * 0x94D0'49BB'1331'11EB;
  return x ^ x >> 31;
}

constexpr std::uint64_t reduce(std::uint64_t x) noexcept {
  x = (x & kPrime) + (x >> 61);
  return x >= kPrime ? x - kPrime : x;
}

constexpr std::uint64_t multiply(std::uint64_t a, std::uint64_t b) noexcept {
  const Wide product = static_cast<Wide>(a) * b;
  return reduce(static_cast<std::uint64_t>(product & kPrime) +
                static_cast<std::uint64_t>(product >> 61));
}

/// A set of hashes with room for `size` of them: open addressing, at most half full.
class HashSet {
 public:
  explicit HashSet(std::size_t size) : slots_(std::bit_ceil(2 * size), kEmpty) {}

  /// Tells whether the hash, below the prime, is new.
  bool insert(std::uint64_t hash) noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = mix(hash) & mask;
    while (slots_[at] != kEmpty) {
      if (slots_[at] == hash) return false;
      at = (at + 1) & mask;
    }
    slots_[at] = hash;
    return true;
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  std::vector<std::uint64_t> slots_;
};

}  // namespace

std::vector<std::uint64_t> word_hashes(std::string_view text) {
  std::vector<std::uint64_t> words;
  words.reserve(text.size() / 5 + 1);
  ScriptFinder script_of;
  std::uint64_t hash = 0;
  enum { nothing, word, letter } kind = nothing;  // what is under way
  const auto end = [&] {
    if (kind != nothing) words.push_back(hash);
    kind = nothing;
    hash = 0;
  };
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint next = decode_utf8(text, at);
    const Script script = script_of(next.code);
    const bool alone = is_ideograph(script) || is_unspaced(script);
    const bool ends_letter = kind == letter && script != Script::mark;
    if (is_unicode_space(next.code) || alone || ends_letter) end();
    if (!is_unicode_space(next.code)) {
      kind = alone || kind == letter ? letter : word;
      // Broken bytes differ from each other, and from a U+FFFD that is spelled out.
      const bool broken = next.code == 0xFFFD && next.size == 1;
      hash = mix(hash + 0x9E37'79B9'7F4A'7C15 + next.code +
                 (broken ? 0x110000u + static_cast<unsigned char>(text[at]) : 0u));
    }
    at += next.size;
  }
  end();
  return words;
}

double repeated_ngram_share(std::span<const std::uint64_t> tokens, std::size_t n) {
  if (tokens.size() < n) return 0;
  const std::size_t total = tokens.size() - n + 1;
  std::uint64_t leading = 1;  // kBase to the power of n - 1, the weight of the n-gram's first token
  for (std::size_t i = 1; i < n; ++i) leading = multiply(leading, kBase);
  // Ids are small and near each other; mixed, they fill the range of the hash.
  const auto value = [&](std::size_t i) { return reduce(mix(tokens[i] + 1)); };
  HashSet seen(total);
  std::size_t distinct = 0;
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i >= n) hash = reduce(hash + kPrime - multiply(leading, value(i - n)));
    hash = reduce(multiply(hash, kBase) + value(i));
    if (i + 1 >= n) distinct += seen.insert(hash);
  }
  return 1 - static_cast<double>(distinct) / static_cast<double>(total);
}

Loop find_loop(std::span<const std::uint64_t> tokens, const LoopLimits& limits) {
  const std::size_t size = tokens.size();
  const auto token = [&](std::size_t i) { return tokens[size - 1 - i]; };  // a suffix is a prefix
  Loop loop;
  // border[length]: the longest proper prefix of the first `length` that is their suffix too; the
  // shortest period is what it leaves.
  std::vector<std::size_t> border(size + 1, 0);
  for (std::size_t length = 1, matched = 0; length <= size; ++length) {
    if (length > 1) {
      while (matched > 0 && token(matched) != token(length - 1)) matched = border[matched];
      matched += token(matched) == token(length - 1);
    }
    border[length] = matched;
    const std::size_t period = length - matched;
    if (length >= limits.min_length && period <= limits.max_period &&
        length / limits.min_repeats >= period) {
      loop = {length, period};
    }
  }
  return loop;
}

std::vector<std::uint64_t> code_points(std::string_view text) {
  std::vector<std::uint64_t> codes;
  codes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint next = decode_utf8(text, at);
    codes.push_back(next.code);
    at += next.size;
  }
  return codes;
}

}  // namespace r1
