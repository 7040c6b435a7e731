#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/cuda.h"
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

/// The largest vocabulary that `sample_cuda` takes: the slices' sums are in shared memory.
constexpr std::int64_t kSampleMostVocab = std::int64_t{1} << 22;

/// On the GPU: the same, by one launch without workspace.
///
/// Traffic:  the logits once, and one slice of 1,024; with a filter one to two times again, from L2
///           where the rows under way fit it, without the slices whose largest logit is too small.
/// Launch:   a block to each row, a warp to each slice in turn.
/// Numerics: the distribution as kernels/common/softmax.cuh says, so that token_logprobs_cuda gives
///           the same bits. Without a filter the CDF runs over slices and then over tokens in
///           double. With one, weights are whole numbers, each rounded down to 2^-60 of the row's
///           sum, and the amounts of all filters are exact; top-p alone takes its share of the
///           sum that the softmax has, which rounds by 1e-7. Two runs give the same bits, whatever
///           rows are beside.
///
/// A uniform out of (0, 1), which nobody waits to see, counts as the nearest one within it; NaN as
/// 0.
///
/// @param vocab  <= kSampleMostVocab
R1_CUDA_API int sample_cuda(const float* logits, std::int64_t rows, std::int64_t vocab,
                            SamplingFilter filter, const double* uniforms, std::int64_t* tokens,
                            float* logprobs, float* truncated_logprobs, float* entropies,
                            CudaStream stream);
R1_CUDA_API int sample_bf16_cuda(const bf16* logits, std::int64_t rows, std::int64_t vocab,
                                 SamplingFilter filter, const double* uniforms,
                                 std::int64_t* tokens, float* logprobs, float* truncated_logprobs,
                                 float* entropies, CudaStream stream);

/// The numbers of kernels/common/philox.h for some counters, each cut to 32 bits; a thread to each.
///
/// @param prompt_uids, samples, positions, uniforms  [count]
R1_CUDA_API int philox_uniforms_cuda(std::uint64_t seed, const std::int64_t* prompt_uids,
                                     const std::int64_t* samples, const std::int64_t* positions,
                                     std::int64_t count, double* uniforms, CudaStream stream);
}  // namespace r1::kernels
