#include "csrc/rewards/markup.h"

#include <algorithm>

#include "csrc/rewards/text.h"

namespace r1 {
namespace {

constexpr auto npos = std::string_view::npos;
constexpr std::size_t kLongestFormula = 400;  // of one between single dollars
constexpr std::size_t kLongestCode = 1000;    // of one between single backticks
constexpr std::size_t kLongestTag = 200;

/// Where the run of `c` that begins at `at` ends.
std::size_t end_of_run(std::string_view text, std::size_t at, char c) noexcept {
  return std::min(text.find_first_not_of(c, at), text.size());
}

/// Where a formula that begins behind the dollar at `at` ends; npos where it is no formula.
std::size_t end_of_formula(std::string_view text, std::size_t at) noexcept {
  const std::size_t limit = std::min(text.size(), at + kLongestFormula);
  for (std::size_t i = at + 1; i < limit; ++i) {
    if (text[i] == '\n' && i + 1 < limit && text[i + 1] == '\n') return npos;
    if (text[i] == '\\') ++i;  // "\$" too
    if (i >= limit || text[i] != '$') continue;
    // The next dollar ends the formula, or there is none: TeX has no dollar inside of one.
    const bool before = i > at + 1 && !is_space(text[i - 1]);
    const bool behind = i + 1 < text.size() && is_digit(text[i + 1]);
    return before && !behind ? i + 1 : npos;
  }
  return npos;
}

}  // namespace

std::size_t Markup::skip(std::size_t at) noexcept {
  switch (text_[at]) {
    case '$':
      return skip_dollars(at);
    case '\\':
      return skip_command(at);
    case '`':
      return skip_code(at);
    case '<':
      return skip_tag(at);
    case 'h':
    case 'H':
    case 'w':
    case 'W':
      return skip_link(at);
    default:
      return at;
  }
}

std::size_t Markup::after(std::string_view end, std::size_t from, bool& gone) const noexcept {
  if (gone) return npos;
  const std::size_t found = text_.find(end, from);
  gone = found == npos;
  return gone ? npos : found + end.size();
}

std::size_t Markup::skip_dollars(std::size_t at) noexcept {
  if (text_.substr(at).starts_with("$$")) {
    const std::size_t end = after("$$", at + 2, no_dollars_);
    return end == npos ? at + 2 : end;
  }
  if (at + 1 == text_.size() || is_space(text_[at + 1])) return at + 1;
  const std::size_t end = end_of_formula(text_, at);
  return end == npos ? at + 1 : end;
}

std::size_t Markup::skip_command(std::size_t at) noexcept {
  const std::string_view rest = text_.substr(at);
  std::size_t end = npos;
  if (rest.starts_with("\\(")) end = after("\\)", at + 2, no_parenthesis_);
  if (rest.starts_with("\\[")) end = after("\\]", at + 2, no_bracket_);
  if (rest.starts_with("\\begin{")) end = skip_environment(at);
  if (end != npos) return end;
  end = at + 1;
  while (end < text_.size() && is_letter(text_[end])) ++end;
  // "\," and "\\"; a byte of something longer is not the command's
  if (end == at + 1 && end < text_.size() && static_cast<unsigned char>(text_[end]) < 0x80) ++end;
  return end;
}

/// Environments nest; one that is never closed ends with the last `\end` there is.
std::size_t Markup::skip_environment(std::size_t at) noexcept {
  std::size_t last = npos;
  int depth = 0;
  for (at = no_end_ ? npos : at; at != npos; at = text_.find('\\', at + 1)) {
    const std::string_view rest = text_.substr(at);
    if (rest.starts_with("\\begin{")) ++depth;
    if (!rest.starts_with("\\end{")) continue;
    last = at + std::min(rest.find('}'), rest.size() - 1) + 1;
    if (--depth == 0) return last;
  }
  no_end_ = no_end_ || last == npos;
  return last;
}

std::size_t Markup::skip_code(std::size_t at) const noexcept {
  const std::size_t begin = end_of_run(text_, at, '`');
  const std::size_t ticks = begin - at;
  const bool fence = ticks >= 3;
  const std::size_t limit = fence ? text_.size() : std::min(text_.size(), begin + kLongestCode);
  for (std::size_t i = text_.find('`', begin); i < limit; i = text_.find('`', i)) {
    const std::size_t end = end_of_run(text_, i, '`');
    if (fence ? end - i >= ticks : end - i == ticks) return end;
    i = end;
  }
  return fence ? text_.size() : begin;
}

std::size_t Markup::skip_tag(std::size_t at) const noexcept {
  if (at + 1 == text_.size()) return at;
  const char first = text_[at + 1];
  if (!is_letter(first) && first != '/' && first != '|') return at;
  const std::string_view tag = text_.substr(at + 1, kLongestTag);
  const std::size_t end = tag.find_first_of("<>\n");
  return end != npos && tag[end] == '>' ? at + 1 + end + 1 : at;
}

std::size_t Markup::skip_link(std::size_t at) const noexcept {
  constexpr std::string_view kStarts[] = {"http://", "https://", "www."};
  const auto begins = [&](std::string_view start) {
    const std::string_view here = text_.substr(at, start.size());
    return std::equal(here.begin(), here.end(), start.begin(), start.end(),
                      [](char a, char b) { return a == b || (is_letter(a) && (a | 0x20) == b); });
  };
  if (std::none_of(std::begin(kStarts), std::end(kStarts), begins)) return at;
  std::size_t end = at;
  while (end < text_.size() && text_[end] > ' ' && text_[end] < 0x7F &&
         std::string_view("<>\"`{}|\\^$").find(text_[end]) == npos) {
    ++end;
  }
  return end;
}

}  // namespace r1
