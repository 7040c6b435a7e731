#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/cuda.h"
#include "kernels/common/isa.h"

namespace r1::kernels {

/// What the forward pass knows of a row's softmax and the backward pass needs.
struct SoftmaxStatistics {
  double max;      // of the logits
  double sum;      // of exp((logit - max) / temperature)
  double entropy;  // nats
};

/// Log-probability of one token per row and the entropy of the row's distribution, in nats:
///
///     z = logits / temperature,  logprob = z[token] - logsumexp(z),  entropy = -sum p log p
///
/// Traffic:  two reads of the logits (maximum, then sums); the second hits cache for V < 250k.
/// Numerics: fp32 exponentials summed in 16 lanes over slices of 1,024 logits, slices in double;
///           the same bits at AVX2 and AVX-512. A logit of -inf has probability 0; a row of them,
///           or one that holds NaN, gives NaN. bf16 logits are widened as they are read.
///
/// @param logits       [rows, vocab], row-major
/// @param tokens       [rows], in [0, vocab)
/// @param temperature  > 0
/// @param logprobs     [rows]
/// @param entropies    [rows]
/// @param statistics   [rows], for the backward pass, or null
/// @param weights      [rows, vocab], exp((logit - max) / temperature), or null; may be `logits`
///                     itself
R1_PER_ISA(void token_logprobs_cpu(const float* logits, const std::int64_t* tokens,
                                   std::int64_t rows, std::int64_t vocab, float temperature,
                                   float* logprobs, float* entropies, SoftmaxStatistics* statistics,
                                   float* weights) noexcept;)
R1_PER_ISA(void token_logprobs_bf16_cpu(const bf16* logits, const std::int64_t* tokens,
                                        std::int64_t rows, std::int64_t vocab, float temperature,
                                        float* logprobs, float* entropies,
                                        SoftmaxStatistics* statistics, float* weights) noexcept;)
/// Plain loops, for gradient checks.
R1_PER_ISA(void token_logprobs_f64_cpu(const double* logits, const std::int64_t* tokens,
                                       std::int64_t rows, std::int64_t vocab, double temperature,
                                       double* logprobs, double* entropies,
                                       SoftmaxStatistics* statistics) noexcept;)

/// Gradient of sum(grad_logprob * logprob + grad_entropy * entropy) with respect to the logits:
///
///     d logprob / d z_j = [j = token] - p_j,  d entropy / d z_j = -p_j (log p_j + entropy)
///
/// Traffic:  one read of the logits, one write. A row whose two gradients are 0 is not read.
/// Numerics: fp32, the same bits at AVX2 and AVX-512; bf16 gradients are rounded once, to nearest.
///
/// @param statistics   [rows], from the forward pass
/// @param grad_logits  [rows, vocab]; may be `logits` itself
R1_PER_ISA(void token_logprobs_backward_cpu(const float* logits, const std::int64_t* tokens,
                                            const SoftmaxStatistics* statistics,
                                            const float* grad_logprobs, const float* grad_entropies,
                                            std::int64_t rows, std::int64_t vocab,
                                            float temperature, float* grad_logits) noexcept;)
R1_PER_ISA(void token_logprobs_backward_bf16_cpu(
               const bf16* logits, const std::int64_t* tokens, const SoftmaxStatistics* statistics,
               const float* grad_logprobs, const float* grad_entropies, std::int64_t rows,
               std::int64_t vocab, float temperature, bf16* grad_logits) noexcept;)
/// The gradient of sum(grad_logprob * logprob) alone, from the exponentials that the forward pass
/// kept: the same bits with no exponential computed again.
///
/// @param weights      [rows, vocab]
/// @param grad_logits  [rows, vocab]; may be `weights` itself
R1_PER_ISA(void logprob_gradient_cpu(const float* weights, const std::int64_t* tokens,
                                     const SoftmaxStatistics* statistics,
                                     const float* grad_logprobs, std::int64_t rows,
                                     std::int64_t vocab, float temperature,
                                     float* grad_logits) noexcept;)
R1_PER_ISA(void logprob_gradient_bf16_cpu(const float* weights, const std::int64_t* tokens,
                                          const SoftmaxStatistics* statistics,
                                          const float* grad_logprobs, std::int64_t rows,
                                          std::int64_t vocab, float temperature,
                                          bf16* grad_logits) noexcept;)
/// Plain loops, for gradient checks.
R1_PER_ISA(void token_logprobs_backward_f64_cpu(const double* logits, const std::int64_t* tokens,
                                                const SoftmaxStatistics* statistics,
                                                const double* grad_logprobs,
                                                const double* grad_entropies, std::int64_t rows,
                                                std::int64_t vocab, double temperature,
                                                double* grad_logits) noexcept;)

/// Bytes of workspace that the forward pass of `rows` rows needs on the GPU: each slice's sums.
constexpr std::int64_t softmax_workspace_cuda(std::int64_t rows, std::int64_t vocab) {
  return rows * ((vocab + 1023) / 1024) * 12;
}

/// On the GPU: a warp to each slice of 1,024 logits, then one to each row.
///
/// Traffic:  the logits once. Memory-bound.
/// Numerics: exponentials within 3 ulp, a slice's sums in fp32, slices in double, in one order: two
///           runs give the same bits, whatever rows are beside. A token out of range gives NaN.
///
/// @param workspace  [softmax_workspace_cuda(rows, vocab)] bytes
R1_CUDA_API int token_logprobs_cuda(const float* logits, const std::int64_t* tokens,
                                    std::int64_t rows, std::int64_t vocab, float temperature,
                                    float* logprobs, float* entropies,
                                    SoftmaxStatistics* statistics, void* workspace,
                                    CudaStream stream);
R1_CUDA_API int token_logprobs_bf16_cuda(const bf16* logits, const std::int64_t* tokens,
                                         std::int64_t rows, std::int64_t vocab, float temperature,
                                         float* logprobs, float* entropies,
                                         SoftmaxStatistics* statistics, void* workspace,
                                         CudaStream stream);
R1_CUDA_API int token_logprobs_backward_cuda(const float* logits, const std::int64_t* tokens,
                                             const SoftmaxStatistics* statistics,
                                             const float* grad_logprobs,
                                             const float* grad_entropies, std::int64_t rows,
                                             std::int64_t vocab, float temperature,
                                             float* grad_logits, CudaStream stream);
R1_CUDA_API int token_logprobs_backward_bf16_cuda(const bf16* logits, const std::int64_t* tokens,
                                                  const SoftmaxStatistics* statistics,
                                                  const float* grad_logprobs,
                                                  const float* grad_entropies, std::int64_t rows,
                                                  std::int64_t vocab, float temperature,
                                                  bf16* grad_logits, CudaStream stream);
}  // namespace r1::kernels
