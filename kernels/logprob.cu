#include "kernels/logprob.h"

#include "kernels/common/softmax.cuh"

namespace r1::kernels {
namespace {

constexpr int kWarps = 8;  // of a block, each of which takes a row

template <class Element>
__global__ void __launch_bounds__(kWarps* kWarp)
    token_logprobs_kernel(const Element* logits, const std::int64_t* tokens,
                          const SliceSums* slices, std::int64_t rows, std::int64_t vocab,
                          float scale, float* logprobs, float* entropies,
                          SoftmaxStatistics* statistics) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_of_thread();
  if (n >= rows) return;
  const std::int64_t count = ceil_div(vocab, kSlice);
  const SoftmaxRow row =
      combine_slices(count, scale, [&](std::int64_t i) { return slices[n * count + i]; });
  if (lane_of_thread() != 0) return;
  logprobs[n] = logprob_of(row, logit_of(logits + n * vocab, tokens[n], vocab), scale);
  entropies[n] = entropy_of(row);
  if (statistics)
    statistics[n] = {static_cast<double>(row.max), row.sum, static_cast<double>(entropies[n])};
}

template <class Element>
__global__ void __launch_bounds__(256)
    token_logprobs_backward_kernel(const Element* logits, const std::int64_t* tokens,
                                   const SoftmaxStatistics* statistics, const float* grad_logprobs,
                                   const float* grad_entropies, std::int64_t vocab,
                                   unsigned per_row, float scale, Element* grad_logits) {
  const SliceOf at(vocab, per_row);
  if (at.count <= 0) return;
  const std::int64_t first = at.row * vocab + at.begin;
  const bool aligned = is_aligned(logits, vocab) && is_aligned(grad_logits, vocab);
  const SoftmaxStatistics& row = statistics[at.row];
  const auto sum = static_cast<float>(row.sum);
  const RowGradient gradient =
      row_gradient(static_cast<float>(row.max), sum, logf(sum), static_cast<float>(row.entropy),
                   grad_logprobs[at.row], grad_entropies[at.row], scale);
  float x[kSliceVectors][kVector] = {};
  const auto store = [&] { store_slice(grad_logits + first, at.count, aligned, x); };
  if (gradient.is_zero()) return store();
  load_slice(logits + first, at.count, aligned, x);
  const std::int64_t token = tokens[at.row] - at.begin;
  const bool owns = token >= 0 && token < at.count && lane_of_thread() == lane_of(token);
  const float own = owns ? to_float(logits[first + token]) : 0.f;  // before it is overwritten
  gradient.apply(x);
  store();
  if (owns) grad_logits[first + token] = from_float<Element>(gradient.at_token(own));
}

template <class Element>
int forward(const Element* logits, const std::int64_t* tokens, std::int64_t rows,
            std::int64_t vocab, float temperature, float* logprobs, float* entropies,
            SoftmaxStatistics* statistics, void* workspace, CudaStream stream) {
  auto* const slices = static_cast<SliceSums*>(workspace);
  const float scale = 1.f / temperature;
  const int error = launch_slices(logits, rows, vocab, scale, slices, stream);
  if (error) return error;
  return launch({ceil_div(rows, kWarps), kWarps * kWarp}, stream, &token_logprobs_kernel<Element>,
                logits, tokens, slices, rows, vocab, scale, logprobs, entropies, statistics);
}

template <class Element>
int backward(const Element* logits, const std::int64_t* tokens, const SoftmaxStatistics* statistics,
             const float* grad_logprobs, const float* grad_entropies, std::int64_t rows,
             std::int64_t vocab, float temperature, Element* grad_logits, CudaStream stream) {
  const SliceLaunch it(rows, vocab);
  return launch(it.shape, stream, &token_logprobs_backward_kernel<Element>, logits, tokens,
                statistics, grad_logprobs, grad_entropies, vocab, it.per_row, 1.f / temperature,
                grad_logits);
}

}  // namespace

int token_logprobs_cuda(const float* logits, const std::int64_t* tokens, std::int64_t rows,
                        std::int64_t vocab, float temperature, float* logprobs, float* entropies,
                        SoftmaxStatistics* statistics, void* workspace, CudaStream stream) {
  return forward(logits, tokens, rows, vocab, temperature, logprobs, entropies, statistics,
                 workspace, stream);
}

int token_logprobs_bf16_cuda(const bf16* logits, const std::int64_t* tokens, std::int64_t rows,
                             std::int64_t vocab, float temperature, float* logprobs,
                             float* entropies, SoftmaxStatistics* statistics, void* workspace,
                             CudaStream stream) {
  return forward(logits, tokens, rows, vocab, temperature, logprobs, entropies, statistics,
                 workspace, stream);
}

int token_logprobs_backward_cuda(const float* logits, const std::int64_t* tokens,
                                 const SoftmaxStatistics* statistics, const float* grad_logprobs,
                                 const float* grad_entropies, std::int64_t rows, std::int64_t vocab,
                                 float temperature, float* grad_logits, CudaStream stream) {
  return backward(logits, tokens, statistics, grad_logprobs, grad_entropies, rows, vocab,
                  temperature, grad_logits, stream);
}

int token_logprobs_backward_bf16_cuda(const bf16* logits, const std::int64_t* tokens,
                                      const SoftmaxStatistics* statistics,
                                      const float* grad_logprobs, const float* grad_entropies,
                                      std::int64_t rows, std::int64_t vocab, float temperature,
                                      bf16* grad_logits, CudaStream stream) {
  return backward(logits, tokens, statistics, grad_logprobs, grad_entropies, rows, vocab,
                  temperature, grad_logits, stream);
}

}  // namespace r1::kernels
