#include "kernels/common/softmax.cuh"

namespace r1::kernels {
namespace {

constexpr int kWarps = 8;  // of a block, each a slice

template <class Element>
__global__ void __launch_bounds__(kWarps* kWarp)
    slices_kernel(const Element* logits, std::int64_t rows, std::int64_t vocab, float scale,
                  SliceSums* sums) {
  const SliceOf at(vocab);
  if (at.row >= rows) return;  // whole warps leave together
  const SliceSums slice =
      slice_sums(logits + at.row * vocab + at.begin, at.count, scale, is_aligned(logits, vocab));
  if (lane_of_thread() == 0) sums[at.index] = slice;
}

template <class Element>
int launch_all(const Element* logits, std::int64_t rows, std::int64_t vocab, float scale,
               SliceSums* sums, CudaStream stream) {
  const std::int64_t slices = rows * ceil_div(vocab, kSlice);
  return launch({ceil_div(slices, kWarps), kWarps * kWarp}, stream, &slices_kernel<Element>, logits,
                rows, vocab, scale, sums);
}

}  // namespace

int launch_slices(const float* logits, std::int64_t rows, std::int64_t vocab, float scale,
                  SliceSums* slices, CudaStream stream) {
  return launch_all(logits, rows, vocab, scale, slices, stream);
}

int launch_slices(const bf16* logits, std::int64_t rows, std::int64_t vocab, float scale,
                  SliceSums* slices, CudaStream stream) {
  return launch_all(logits, rows, vocab, scale, slices, stream);
}

}  // namespace r1::kernels
