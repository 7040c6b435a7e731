#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/cuda.h"
#include "kernels/common/isa.h"

namespace r1::kernels {

/// What becomes of the ratio in a token's policy term; see grpo_terms.h.
enum class Surrogate : int { clipped = 0, cispo = 1, sapo = 2 };

enum class KlEstimator : int { k1 = 1, k2 = 2, k3 = 3 };

/// Settings of equations 1 and 2 that every token shares.
struct GrpoLossOptions {
  Surrogate surrogate;
  double ratio_min;             // clipped: 1 - epsilon; otherwise -infinity
  double ratio_max;             // clipped: 1 + epsilon_high; cispo: epsilon_high; sapo: infinity
  double delta;                 // clipped: bound of the unclipped ratio (two-sided); infinity: none
  double sapo_temperature_pos;  // where the advantage is > 0
  double sapo_temperature_neg;  // elsewhere
  double beta;                  // KL coefficient; 0: no KL
  KlEstimator kl_estimator;
  bool bias_corrected_kl;  // the KL times the ratio (DeepSeek-V3.2)
  bool sequence_ratio;     // one ratio per sequence: exp of the mean log-ratio of its tokens (GSPO)
};

/// What a token's loss depends on besides its log-probability; each [M].
struct GrpoTokens {
  const double* advantages;
  const double* weights;             // in the loss; 0: the token does not count and is not read
  const double* old_logprobs;        // or null: the log-probabilities themselves, ratio exactly 1
  const double* reference_logprobs;  // or null where beta is 0
  const double* importance_weights;  // of the policy term; or null: 1
};

/// Sums over the counted tokens.
struct GrpoLossSums {
  double loss;          // weighted: already the loss
  double kl;            // estimated KL to the reference, nats
  double tokens;        // counted tokens
  double low_clipped;   // ratio < ratio_min with a negative advantage
  double high_clipped;  // ratio > ratio_max with a positive advantage
};

/// The surrogate minus beta KL (DeepSeek-R1, equations 1 and 2, and the variants of grpo_terms.h)
/// of M packed tokens, and its gradient:
///
///     loss = sum_m weight[m] (importance_weight[m] policy(ratio, A) + beta KL)
///
/// Numerics: every token in double, summed in order; deterministic. A log-probability of NaN, or
///           without old ones -infinity, makes loss and gradient NaN.
///
/// @param logprobs         [M]
/// @param sequence_starts  [sequences + 1], offsets into M; a sequence may be empty
/// @param grad_logprobs    [M], d loss / d logprobs
R1_PER_ISA(GrpoLossSums grpo_loss_cpu(const double* logprobs, const GrpoTokens& tokens,
                                      const std::int64_t* sequence_starts, std::int64_t sequences,
                                      const GrpoLossOptions& options,
                                      double* grad_logprobs) noexcept;)

/// `GrpoLossSums` and the sum of the counted tokens' entropies.
constexpr std::int64_t kLossSums = 6;

/// On the GPU a block goes through a sequence; sums by threads, then by sequences in order.
///
/// @param entropies  [M], or null: 0
/// @param workspace  [sequences, kLossSums]
/// @param sums       [kLossSums]
R1_CUDA_API int grpo_loss_cuda(const double* logprobs, const GrpoTokens& tokens,
                               const std::int64_t* sequence_starts, std::int64_t sequences,
                               const GrpoLossOptions& options, const float* entropies,
                               double* grad_logprobs, double* workspace, double* sums,
                               CudaStream stream);

/// On the GPU: the loss of M rows of logits, with a ratio per token, and its gradient with respect
/// to the logits, minus `entropy_weight` times the entropies. A row lies in the shared memory of
/// one block, or of a cluster of up to sixteen, from the only read of its logits to the only write
/// of their gradient; rows beyond that are read twice: over 900k bf16 logits on Hopper, 40k on an
/// A100, which has no clusters. Rows that do not count are not read, and their gradient is 0.
///
/// Traffic:  one read and one write of [M, V]. Memory-bound: two exponentials a logit.
/// Numerics: the token's log-probability has the bits of token_logprobs_cuda; its loss in double;
///           sums over rows in order. A token out of range makes the loss and its row's gradient
///           NaN.
///
/// @param logits     [M, V]
/// @param ids        [M]
/// @param gradient   [M, V]; may be `logits` itself, or null where none is wanted
/// @param logprobs   [M], 0 where a row does not count; or null
/// @param workspace  [M, kLossSums], for grpo_loss_sums_cuda
R1_CUDA_API int grpo_loss_from_logits_cuda(const float* logits, const std::int64_t* ids,
                                           std::int64_t rows, std::int64_t vocab, float temperature,
                                           const GrpoTokens& tokens, const GrpoLossOptions& options,
                                           float entropy_weight, float* gradient, float* logprobs,
                                           double* workspace, CudaStream stream);
R1_CUDA_API int grpo_loss_from_logits_bf16_cuda(
    const bf16* logits, const std::int64_t* ids, std::int64_t rows, std::int64_t vocab,
    float temperature, const GrpoTokens& tokens, const GrpoLossOptions& options,
    float entropy_weight, bf16* gradient, float* logprobs, double* workspace, CudaStream stream);
/// From float32 logits the gradient in bfloat16, for the matrix products that follow; it may not
/// overlap the logits.
R1_CUDA_API int grpo_loss_from_logits_narrow_cuda(
    const float* logits, const std::int64_t* ids, std::int64_t rows, std::int64_t vocab,
    float temperature, const GrpoTokens& tokens, const GrpoLossOptions& options,
    float entropy_weight, bf16* gradient, float* logprobs, double* workspace, CudaStream stream);
/// Sums of `count` workspaces in order, by a tree that depends on their number alone.
R1_CUDA_API int grpo_loss_sums_cuda(const double* workspace, std::int64_t count, double* sums,
                                    CudaStream stream);
}  // namespace r1::kernels
