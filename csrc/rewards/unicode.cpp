#include "csrc/rewards/unicode.h"

#include <algorithm>
#include <iterator>

namespace r1 {
namespace {

struct Range {
  char32_t first, last;
  Script script;
};

constexpr Range kRanges[] = {
// by code point; what lies between is Script::none
#include "csrc/rewards/script_table.inc"
};

}  // namespace

void ScriptFinder::look_up(char32_t code) noexcept {
  const Range* const next =
      std::upper_bound(std::begin(kRanges), std::end(kRanges), code,
                       [](char32_t value, const Range& range) { return value < range.first; });
  const Range* const range = next == std::begin(kRanges) ? nullptr : next - 1;
  if (range != nullptr && code <= range->last) {
    first_ = range->first, last_ = range->last, script_ = range->script;
    return;
  }
  first_ = range != nullptr ? range->last + 1 : 0x80;
  last_ = next == std::end(kRanges) ? 0xFFFFFFFF : next->first - 1;
  script_ = Script::none;
}

}  // namespace r1
