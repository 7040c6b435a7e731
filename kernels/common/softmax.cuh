#pragma once
#include "kernels/common/cuda.cuh"

/// What a row of logits says about its softmax, by slices of 1,024, each one warp's; shared by the
/// sampler, the scorer and the loss, so that all report the same bits for the same logits. A
/// slice's sums depend on its logits alone and slices are combined in one order: neither the number
/// of rows nor of blocks changes a bit.
namespace r1::kernels {

constexpr int kSlice = 1024;
constexpr int kSliceVectors = kSlice / (kWarp * kVector);  // that each lane reads
constexpr float kLog2E = 1.44269504088896f;
constexpr float kLn2 = 0.693147180559945f;
constexpr float kExpLow = -88.f;  // e^this is below the least normal number: its weight is 0

/// Of exp(z), z = (logit - max) scale, relative to the slice's own maximum.
struct SliceSums {
  float max;       // of the logits
  float weights;   // sum of exp(z)
  float products;  // sum of exp(z) z; 0 where the exponential is 0
};

struct SoftmaxRow {
  float max;
  double sum;           // of exp(z): NaN where the row has no distribution
  double weighted_sum;  // of exp(z) z
  double log_sum;
};

/// @param scale  1 / temperature
__device__ inline float scaled(float logit, float max, float scale) {
  return max_nan((logit - max) * scale, kExpLow);
}

/// exp(z) of a z that `scaled` gave.
__device__ inline float weight_of(float z) { return exp2_fast(z * kLog2E); }

/// One vector's logits against a maximum. In powers of 2, which saves an operation of nine for each
/// logit: in bfloat16 they take as long as the memory does.
__device__ inline void add_weights(const float (&x)[kVector], float max, float scale,
                                   SliceSums& sums) {
  constexpr float kExp2Low = -127.f;
  const float scale2 = scale * kLog2E;
  float weights = 0, products = 0;  // of each vector: a chain of eight additions, not of 32
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const float z = max_nan((x[i] - max) * scale2, kExp2Low), weight = exp2_fast(z);
    weights += weight;
    products += weight * z;
  }
  sums.weights += weights;
  sums.products += products * kLn2;
}

/// The slice that this warp takes, where `per_row` blocks go through each row. Whole numbers of 64
/// bits are not divided: that would take as long as the slice itself.
struct SliceOf {
  std::int64_t row, slice, begin, count;  // count <= 0: there is none

  __device__ SliceOf(std::int64_t vocab, unsigned per_row)
      : row(blockIdx.x / per_row),
        slice(std::int64_t{blockIdx.x % per_row} * warps_of_block() + warp_of_thread()),
        begin(slice * kSlice),
        count(vocab - begin < kSlice ? vocab - begin : kSlice) {}
};

/// A launch of warps that take a slice each.
struct SliceLaunch {
  std::int64_t per_row;  // blocks
  LaunchShape shape;

  SliceLaunch(std::int64_t rows, std::int64_t vocab) {
    constexpr std::int64_t kMostWarps = 8;
    const std::int64_t slices = ceil_div(vocab, kSlice);
    const std::int64_t warps = slices < kMostWarps ? slices : kMostWarps;
    per_row = ceil_div(slices, warps);
    shape = {rows * per_row, static_cast<int>(warps) * kWarp};
  }
};

/// Calls body(vector, index in the slice, elements left there, whether they are aligned) for each
/// of this lane's vectors. Of a whole, aligned slice the last two are constants, so that no vector
/// is asked whether it is cut: of short slices of code, that is what takes the most instructions.
template <class Body>
__device__ void for_vectors(std::int64_t count, bool aligned, const Body& body) {
  const auto at = [](int v) { return (v * kWarp + lane_of_thread()) * kVector; };
  if (aligned && count == kSlice) {
#pragma unroll
    for (int v = 0; v < kSliceVectors; ++v) body(v, at(v), kVector, true);
  } else {
#pragma unroll
    for (int v = 0; v < kSliceVectors; ++v)
      body(v, at(v), static_cast<int>(count) - at(v), aligned);
  }
}

/// The lane that has an element of a slice.
__device__ inline int lane_of(std::int64_t element) {
  return static_cast<int>(element % (kWarp * kVector)) / kVector;
}

/// This lane's vectors of a slice of `count` logits, all on their way at once; -inf beyond.
template <class Element>
__device__ void load_slice(const Element* logits, std::int64_t count, bool aligned,
                           float (&x)[kSliceVectors][kVector]) {
  for_vectors(count, aligned, [&](int v, int at, int left, bool fits) {
    load_vector(logits + at, left, fits, -kInfinity, x[v]);
  });
}

template <class Element>
__device__ void store_slice(Element* to, std::int64_t count, bool aligned,
                            const float (&x)[kSliceVectors][kVector]) {
  for_vectors(count, aligned, [&](int v, int at, int left, bool fits) {
    if (left > 0) store_vector(to + at, left, fits, x[v]);
  });
}

/// The sums of a slice, in every lane, each of which has its vectors.
__device__ inline SliceSums slice_sums(const float (&x)[kSliceVectors][kVector], float scale) {
  float max = -kInfinity;
#pragma unroll
  for (int v = 0; v < kSliceVectors; ++v) {
    float of_vector = x[v][0];
#pragma unroll
    for (int i = 1; i < kVector; ++i) of_vector = fmaxf(of_vector, x[v][i]);
    max = fmaxf(max, of_vector);
  }
  SliceSums sums{warp_max(max), 0, 0};
  const float origin = sums.max == -kInfinity ? 0.f : sums.max;
#pragma unroll
  for (int v = 0; v < kSliceVectors; ++v) add_weights(x[v], origin, scale, sums);
  warp_sums(sums.weights, sums.products);
  return sums;
}

/// The sums of a slice of `count` <= 1,024 logits, in every lane.
template <class Element>
__device__ SliceSums slice_sums(const Element* logits, std::int64_t count, float scale,
                                bool aligned) {
  float x[kSliceVectors][kVector];
  load_slice(logits, count, aligned, x);
  return slice_sums(x, scale);
}

/// What a slice's sums are multiplied by, relative to the row's maximum; and the step between the
/// two maxima, held where it is too deep for a weight.
struct SliceShift {
  float factor, shift;
};

__device__ inline SliceShift slice_shift(float slice_max, float row_max, float scale) {
  if (slice_max == -kInfinity) return {0, 0};
  const float shift = scaled(slice_max, row_max, scale);
  return {weight_of(shift), shift};
}

/// Combines the slices of a row; all lanes of a warp call it and have the result.
///
/// @param slice  slice(i) -> SliceSums
template <class Slice>
__device__ SoftmaxRow combine_slices(std::int64_t slices, float scale, const Slice& slice) {
  constexpr int kHeld = 5;  // read once, all together; of a vocabulary beyond 163,840 some twice
  SliceSums held[kHeld];
  float max = -kInfinity;
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    const std::int64_t i = j * kWarp + lane_of_thread();
    held[j] = i < slices ? slice(i) : SliceSums{-kInfinity, 0, 0};
    max = fmaxf(max, held[j].max);
  }
  const std::int64_t rest = kHeld * kWarp + lane_of_thread();
  for (std::int64_t i = rest; i < slices; i += kWarp) max = fmaxf(max, slice(i).max);
  SoftmaxRow row{warp_max(max), 0, 0, 0};
  const auto add = [&](const SliceSums& sums) {
    const SliceShift to = slice_shift(sums.max, row.max, scale);
    row.sum += static_cast<double>(to.factor * sums.weights);
    row.weighted_sum += static_cast<double>(to.factor * (sums.products + to.shift * sums.weights));
  };
#pragma unroll
  for (int j = 0; j < kHeld; ++j) add(held[j]);
  for (std::int64_t i = rest; i < slices; i += kWarp) add(slice(i));
  row.sum = warp_sum(row.sum);
  row.weighted_sum = warp_sum(row.weighted_sum);
  if (!(row.sum > 0)) row.sum = __builtin_nan("");
  row.log_sum = log(row.sum);
  return row;
}

/// The sums of every slice of some rows, [rows, slices], a warp to each.
int launch_slices(const float* logits, std::int64_t rows, std::int64_t vocab, float scale,
                  SliceSums* slices, CudaStream stream);
int launch_slices(const bf16* logits, std::int64_t rows, std::int64_t vocab, float scale,
                  SliceSums* slices, CudaStream stream);

/// The token's logit; NaN where there is no such token.
template <class Element>
__device__ float logit_of(const Element* row, std::int64_t token, std::int64_t vocab) {
  return token >= 0 && token < vocab ? to_float(row[token]) : __builtin_nanf("");
}

__device__ inline float logprob_of(const SoftmaxRow& row, float logit, float scale) {
  return static_cast<float>(static_cast<double>((logit - row.max) * scale) - row.log_sum);
}

__device__ inline float entropy_of(const SoftmaxRow& row) {
  return static_cast<float>(row.log_sum - row.weighted_sum / row.sum);
}

/// The gradient of grad_logprob * logprob + grad_entropy * entropy, from the logits of a row:
///
///     (grad_logprob ([j = token] - p_j) - grad_entropy p_j (log p_j + entropy)) scale
///
/// Plain numbers, so that a block computes them once and its threads read them.
struct RowGradient {
  float max, scale;
  float grad_logprob, grad_entropy;  // times scale
  float factor;                      // of exp(z), without the entropy's gradient
  float inverse_sum, shift;          // log p = z + shift - entropy

  /// Whether the gradient is 0 whatever the logits.
  __device__ bool is_zero() const { return grad_logprob == 0 && grad_entropy == 0; }

  /// In place of a slice's logits, but for the token's own term.
  __device__ void apply(float (&x)[kSliceVectors][kVector]) const {
    if (grad_entropy == 0)
      for_each(x, [&](float logit) { return of_logprob(logit); });
    else
      for_each(x, [&](float logit) { return of_both(logit); });
  }
  __device__ float at_token(float logit) const {
    return (grad_entropy == 0 ? of_logprob(logit) : of_both(logit)) + grad_logprob;
  }

  template <class Value>
  __device__ static void for_each(float (&x)[kSliceVectors][kVector], const Value& value) {
#pragma unroll
    for (int v = 0; v < kSliceVectors; ++v)
#pragma unroll
      for (int i = 0; i < kVector; ++i) x[v][i] = value(x[v][i]);
  }
  __device__ float of_logprob(float logit) const {
    return exp2_fast((logit - max) * (scale * kLog2E)) * factor;
  }
  __device__ float of_both(float logit) const {
    const float z = scaled(logit, max, scale);
    return -weight_of(z) * inverse_sum * ((z + shift) * grad_entropy + grad_logprob);
  }
};

__device__ inline RowGradient row_gradient(float max, float sum, float log_sum, float entropy,
                                           float grad_logprob, float grad_entropy, float scale) {
  const float inverse = 1.f / sum;
  return {max,
          scale,
          grad_logprob * scale,
          grad_entropy * scale,
          -grad_logprob * scale * inverse,
          inverse,
          entropy - log_sum};
}

}  // namespace r1::kernels
