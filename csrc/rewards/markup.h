#pragma once
#include <cstddef>
#include <string_view>

namespace r1 {

/// Finds what is not prose: mathematics, code, links and tags. One instance reads one text, from
/// front to back; it remembers what has no end any more, so that a text of a million openings still
/// takes linear time.
///
///     $x$  $$x$$  \(x\)  \[x\]  \begin{x}..\end{x}    mathematics
///     \frac  \\  \,                                   commands: only their name
///     `x`  ```x```                                    code; an open fence reaches to the end
///     https://x  www.x                                links, up to a blank or a non-ASCII byte
///     <think>  </p>  <|im_end|>                       tags: not what stands between two of them
///
/// A dollar is a formula's, not a price's, where none but "$x$" makes sense: no blank just inside,
/// no digit after it, the end in the same paragraph and within 400 bytes.
class Markup {
 public:
  explicit Markup(std::string_view text) noexcept : text_(text) {}

  /// Returns where the markup that begins at `at` ends; `at` itself where none begins. Calls must
  /// come with growing `at`.
  std::size_t skip(std::size_t at) noexcept;

  /// Tells the bytes that may begin markup, links apart.
  static constexpr bool may_begin(char c) noexcept {
    return c == '$' || c == '\\' || c == '`' || c == '<';
  }

 private:
  std::size_t skip_dollars(std::size_t at) noexcept;
  std::size_t skip_command(std::size_t at) noexcept;
  std::size_t skip_environment(std::size_t at) noexcept;
  std::size_t skip_code(std::size_t at) const noexcept;
  std::size_t skip_tag(std::size_t at) const noexcept;
  std::size_t skip_link(std::size_t at) const noexcept;

  /// After the first `end` behind `from`; npos, and `gone` set, where there is none.
  std::size_t after(std::string_view end, std::size_t from, bool& gone) const noexcept;

  std::string_view text_;
  bool no_parenthesis_ = false, no_bracket_ = false, no_dollars_ = false, no_end_ = false;
};

}  // namespace r1
