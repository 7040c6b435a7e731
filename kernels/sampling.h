#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/isa.h"

namespace r1::kernels {

/// Which tokens may be drawn; applied in the order temperature, top-k, top-p, min-p.
struct SamplingFilter {
  float temperature;   // > 0
  std::int64_t top_k;  // highest logits kept, ties by lowest id; 0 keeps all
  double top_p;        // smallest set of most probable tokens with at least this mass; 1 keeps all
  float min_p;         // smallest probability kept, relative to the largest; 0 keeps all
};

/// Floats of workspace that `sample_cpu` needs for rows of `vocab` logits.
constexpr std::int64_t sample_workspace(std::int64_t vocab) {
  return 2 * (vocab + 15) + vocab / 1024 + 1;
}

/// Draws one token per row by inverting the cumulative distribution in order of token id:
/// one uniform number per row, no number per logit.
///
/// The CDF is walked by slices of 1,024 logits, then inside one slice. Filters are exact, ties go
/// to the lowest id; see kernels/common/select.h. Rows are independent. A token of probability 0 is
/// never drawn. A row that has no distribution (NaN or +inf in it, or only -inf) gives token 0, and
/// NaN for its numbers.
///
/// Traffic:  the logits twice; with a filter about eight times, from cache for V < 250k.
///
/// @param logits              [rows, vocab], row-major
/// @param uniforms            [rows], in (0, 1)
/// @param workspace           [sample_workspace(vocab)]
/// @param tokens              [rows]
/// @param logprobs            [rows], under the tempered, unfiltered distribution; the same bits as
///                            token_logprobs_cpu gives
/// @param truncated_logprobs  [rows], under the filtered distribution
/// @param entropies           [rows], nats, of the tempered, unfiltered distribution
R1_PER_ISA(void sample_cpu(const float* logits, std::int64_t rows, std::int64_t vocab,
                           SamplingFilter filter, const double* uniforms, float* workspace,
                           std::int64_t* tokens, float* logprobs, float* truncated_logprobs,
                           float* entropies) noexcept;)
R1_PER_ISA(void sample_bf16_cpu(const bf16* logits, std::int64_t rows, std::int64_t vocab,
                                SamplingFilter filter, const double* uniforms, float* workspace,
                                std::int64_t* tokens, float* logprobs, float* truncated_logprobs,
                                float* entropies) noexcept;)
}  // namespace r1::kernels
