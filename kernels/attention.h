#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {

/// Keys and values of one head at consecutive positions. Keys lie in blocks of 16 positions, one
/// per lane, so that a score needs no sum across lanes.
struct KvSpan {
  const float* keys;    // [positions / 16, head_dim, 16]
  const float* values;  // [positions, head_dim]
  std::int64_t begin;   // the positions visible to the query: [begin, end)
  std::int64_t end;
};

/// The query heads of one token that read the same key and value head.
struct QueryHeads {
  const float* query;  // [heads, head_dim]
  KvSpan prefix;       // an empty span has begin = end
  KvSpan suffix;       // follows the prefix
  float* out;          // [heads, head_dim]
};

/// Query heads that attention works on side by side: what one waits for hides behind the others.
constexpr std::int64_t kQueriesTogether = 4;
/// Floats of workspace that attention over at most these many positions in each span needs.
constexpr std::int64_t attention_workspace(std::int64_t first, std::int64_t second) {
  return kQueriesTogether * ((first + 15) / 16 * 16 + (second + 15) / 16 * 16);
}

/// Attention of tokens over a shared prefix and their own suffix, each query head:
///
///     out[h] = sum over t of softmax_t(scale * query[h] . key[t]) value[t]
///
/// Traffic:  the visible keys and values once per query head. Memory-bound on long contexts.
/// Numerics: fp32. Scores are chains over head_dim; the softmax takes the maximum first, then sums
///           by position modulo 16 of the span; values are added in order of position, even and odd
///           ones of the span apart. So the bits depend on where the prefix ends, and on nothing
///           else. At least one position must be visible.
///
/// @param items      [count]
/// @param workspace  [attention_workspace(prefix.end, suffix.end)] of the longest spans
R1_PER_ISA(void attention_cpu(const QueryHeads* items, std::int64_t count, std::int64_t heads,
                              std::int64_t head_dim, float scale, float* workspace) noexcept;)

/// What 16 tokens of a sequence, in lanes, see of one head's keys and values: lane i the positions
/// [begins[i], ends[i]). A part that nobody sees has begins = ends.
struct KvLanes {
  const float* keys;           // [positions / 16, head_dim, 16]
  const float* values;         // [positions, head_dim]
  const std::int64_t* begins;  // [16]
  const std::int64_t* ends;
};

/// Floats of workspace that 16 tokens over at most these many positions in each part need.
constexpr std::int64_t attention_lanes_workspace(std::int64_t first, std::int64_t second) {
  return 16 * (first + second);
}

/// attention_cpu of 16 tokens in lanes that see the same two parts, as far as each does; one query
/// head. The same bits, and the keys and values are read once for all of them.
///
/// @param query, out  [head_dim, 16]; a lane without a token holds anything finite, and sees what
///                    another does
/// @param workspace   [attention_lanes_workspace(largest prefix end, largest suffix end)]
R1_PER_ISA(void attention_lanes_cpu(const float* query, const KvLanes& prefix,
                                    const KvLanes& suffix, std::int64_t head_dim, float scale,
                                    float* workspace, float* out) noexcept;)

/// Gradients of a part's keys and values, both in blocks of 16 positions: [positions / 16,
/// head_dim, 16].
struct KvGradients {
  float *keys, *values;
};

/// Floats of workspace that the gradient over these many positions needs.
constexpr std::int64_t attention_gradient_workspace(std::int64_t first, std::int64_t second) {
  return 2 * 16 * (16 + (first + 15) / 16 * 16 + (second + 15) / 16 * 16);
}

/// Gradients of attention_lanes_cpu, with p the softmax's weights:
///
///     dvalue[t] += sum over lanes of p[lane, t] dout[lane]
///     ds[lane, t] = scale p[lane, t] (dout[lane] . value[t] - sum over u of p[lane, u] dout[lane]
///     . value[u])
///     dquery[lane] = sum over t of ds[lane, t] key[t],  dkey[t] += sum over lanes of ds[lane, t]
///     query[lane]
///
/// Numerics: fp32, one chain of fused multiply-adds for each sum, over positions or lanes in order.
///           The weights are computed again, within rounding of the forward pass's.
///
/// @param query, dout  [head_dim, 16]; a lane without a token holds zeros, and sees what another
///                     does
/// @param workspace    [attention_gradient_workspace(largest prefix end, largest suffix end)]
/// @param to_prefix, to_suffix  added to
/// @param dquery       [head_dim, 16]
R1_PER_ISA(void attention_backward_cpu(const float* query, const float* dout, const KvLanes& prefix,
                                       const KvLanes& suffix, std::int64_t head_dim, float scale,
                                       float* workspace, const KvGradients& to_prefix,
                                       const KvGradients& to_suffix, float* dquery) noexcept;)
}  // namespace r1::kernels
