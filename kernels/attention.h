#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {

/// Keys and values of consecutive positions. Keys lie in blocks of 16 positions, one per lane, so
/// that a score needs no sum across lanes.
struct KvSpan {
  const float* keys;      // [kv_heads, capacity / 16, head_dim, 16]
  const float* values;    // [kv_heads, capacity, head_dim]
  std::int64_t capacity;  // positions allocated, a multiple of 16
  std::int64_t begin;     // the positions visible to the query: [begin, end)
  std::int64_t end;
};

struct AttentionShape {
  std::int64_t heads, kv_heads, head_dim;  // query head h reads head h * kv_heads / heads
};

/// Floats of workspace that attention over these many positions in each of two spans needs.
constexpr std::int64_t attention_workspace(std::int64_t first, std::int64_t second) {
  return (first + 15) / 16 * 16 + (second + 15) / 16 * 16;
}

/// Attention of one query row over a shared prefix and its own suffix (grouped heads):
///
///     out[h] = sum over t of softmax_t(scale * query[h] . key[t]) value[t]
///
/// Traffic:  the visible keys and values once per query head. Memory-bound on long contexts.
/// Numerics: fp32. Scores are chains over head_dim; the softmax takes the maximum first, then sums
///           by position modulo 16 of the span; values are added in order of position. The order is
///           that of positions within each span, so the bits depend on where the prefix ends, and
///           on nothing else. At least one position must be visible.
///
/// @param query      [heads, head_dim]
/// @param prefix     an empty span has begin = end
/// @param suffix     follows the prefix
/// @param workspace  [attention_workspace(prefix.end, suffix.end)]
/// @param out        [heads, head_dim]
R1_PER_ISA(void attention_cpu(const float* query, KvSpan prefix, KvSpan suffix,
                              AttentionShape shape, float scale, float* workspace,
                              float* out) noexcept;)
}  // namespace r1::kernels
