#include "kernels/common/softmax.cuh"

namespace r1::kernels {
namespace {

template <class Element>
__global__ void __launch_bounds__(256)
    slices_kernel(const Element* logits, std::int64_t vocab, unsigned per_row, float scale,
                  std::int64_t slices, SliceSums* sums) {
  const SliceOf at(vocab, per_row);
  if (at.count <= 0) return;  // whole warps leave together
  const Element* const row = logits + at.row * vocab;
  const SliceSums slice = slice_sums(row + at.begin, at.count, scale, is_aligned(logits, vocab));
  if (lane_of_thread() == 0) sums[at.row * slices + at.slice] = slice;
}

template <class Element>
int launch_all(const Element* logits, std::int64_t rows, std::int64_t vocab, float scale,
               SliceSums* sums, CudaStream stream) {
  const SliceLaunch it(rows, vocab);
  return launch(it.shape, stream, &slices_kernel<Element>, logits, vocab, it.per_row, scale,
                ceil_div(vocab, kSlice), sums);
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
