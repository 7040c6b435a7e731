#include "kernels/norm.cuh"
#include "kernels/norm.h"

namespace r1::kernels {
namespace {

constexpr int kSumWarps = 16;  // of a block that adds up parts

template <class Element, class Weight>
struct Backward {
  Heads<const Element> x, dy, dh;
  std::int64_t rows, heads, width;
  const Weight* weight;
  float eps;
  Heads<Element> dx;
  float* parts;  // [blocks, width], or null
  int lanes;
};

/// The gradient of one vector.
struct Slope {
  float scale, pull;

  /// dx, and what dweight grows by.
  template <class Element, class Weight>
  __device__ Packed<Element> operator()(const Packed<Element>& packed_x,
                                        const Packed<Element>& packed_dy,
                                        const Packed<Weight>& packed_weight,
                                        const Packed<Element>& packed_dh,
                                        float (&dweight)[kVector]) const {
    float x[kVector], dy[kVector], weight[kVector], dx[kVector];
    unpack(packed_x, x);
    unpack(packed_dy, dy);
    unpack(packed_weight, weight);
    unpack(packed_dh, dx);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      dx[i] += scale * (weight[i] * dy[i] - x[i] * pull);
      dweight[i] += dy[i] * (x[i] * scale);
    }
    return pack<Element>(dx);
  }
};

/// Adds the squares of x and the products with its gradient.
template <class Element, class Weight>
__device__ void add_sums(const Packed<Element>& packed_x, const Packed<Element>& packed_dy,
                         const Packed<Weight>& packed_weight, float (&sums)[2]) {
  float x[kVector], dy[kVector], weight[kVector];
  unpack(packed_x, x);
  unpack(packed_dy, dy);
  unpack(packed_weight, weight);
  sums[0] += square_sum(x);
#pragma unroll
  for (int i = 0; i < kVector; ++i) sums[1] += weight[i] * dy[i] * x[i];
}

/// Adds what the teams of a block have summed, in the first of them, by a tree.
template <int Vectors>
__device__ void add_teams(const Team& team, float (&sums)[Vectors][kVector]) {
  __shared__ float shared[kNormThreads / 2 * kFew * kVector];
  static_assert(Vectors <= kFew);
  for (int half = team.teams / 2; half > 0; half /= 2) {
    const int slot = (team.index % half * team.lanes + team.rank) * Vectors * kVector;
    if (team.index >= half && team.index < 2 * half)
#pragma unroll
      for (int i = 0; i < Vectors * kVector; ++i) shared[slot + i] = sums[i / kVector][i % kVector];
    __syncthreads();  // the upper half's sums are there
    if (team.index < half)
#pragma unroll
      for (int i = 0; i < Vectors * kVector; ++i)
        sums[i / kVector][i % kVector] += shared[slot + i];
    __syncthreads();  // before the next round overwrites them
  }
}

/// Of a multiprocessor: what is held in registers decides.
template <class Element, int Vectors>
constexpr int blocks_of(bool whole) {
  if (!whole) return 1;
  return (Vectors == kFew ? 3 : 2) - (sizeof(Element) == 2 ? 0 : 1);
}

/// One team's row; `dweight` and the block's `part` of it grow.
template <int Vectors, bool Whole, class Element, class Weight>
__device__ void differentiate(const Backward<Element, Weight>& call, const Team& team,
                              const Place& place, float* part, float (&dweight)[Vectors][kVector]) {
  const Element* const x = place.in(call.x);
  const Element* const dy = place.in(call.dy);
  const Element* const dh = call.dh.data ? place.in(call.dh) : nullptr;
  Element* const dx = place.in(call.dx);
  const auto load = [&](const auto* from, std::int64_t i) {
    return load_packed<Whole>(from + i, place.width - i);
  };
  const auto load_dh = [&](std::int64_t i) { return dh ? load(dh, i) : Packed<Element>{}; };
  // Long rows leave no registers for dh, nor do weights need any: they lie in the L1 cache.
  constexpr bool kHoldsDh = Vectors == kFew;
  Packed<Element> own[Vectors], above[Vectors], beside[Vectors] = {};
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    own[v] = load(x, team.at(v));
    above[v] = load(dy, team.at(v));
    if (kHoldsDh) beside[v] = load_dh(team.at(v));
  }
  float sums[2] = {};
#pragma unroll
  for (int v = 0; v < Vectors; ++v) add_sums(own[v], above[v], load(call.weight, team.at(v)), sums);
  team.for_rest<Vectors>(place.width, [&](std::int64_t i) {
    add_sums(load(x, i), load(dy, i), load(call.weight, i), sums);
  });
  team_sum(team, sums);
  const float scale = inverse_root(sums[0], call.width, call.eps);
  const Slope slope{scale, sums[1] / static_cast<float>(call.width) * scale * scale};
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const std::int64_t i = team.at(v);
    if (!kHoldsDh) beside[v] = load_dh(i);
    store_packed<Whole>(dx + i, place.width - i,
                        slope(own[v], above[v], load(call.weight, i), beside[v], dweight[v]));
  }
  team.for_rest<Vectors>(place.width, [&](std::int64_t i) {  // the second read
    float sum[kVector] = {};
    if (part) unpack(load_packed<false>(part + i, place.width - i), sum);
    const Packed<Element> result =
        slope(load(x, i), load(dy, i), load(call.weight, i), load_dh(i), sum);
    if (part) store_packed<false>(part + i, place.width - i, pack<float>(sum));
    store_packed<Whole>(dx + i, place.width - i, result);
  });
}

/// Each block goes through the rows blockIdx, blockIdx + blocks, ..., as many at once as teams.
template <class Element, class Weight, int Vectors, bool Whole>
__global__ void __launch_bounds__(kNormThreads, blocks_of<Element, Vectors>(Whole))
    rms_norm_backward_kernel(Backward<Element, Weight> call) {
  const Team team(call.lanes);
  float* const part = call.parts ? call.parts + blockIdx.x * call.width : nullptr;
  float dweight[Vectors][kVector] = {};
  team.for_rest<Vectors>(part ? call.width : 0, [&](std::int64_t i) {
    store_packed<false>(part + i, call.width - i, Packed<float>{});
  });
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * team.teams;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * team.teams; first < call.rows;
       first += step)
    differentiate<Vectors, Whole>(
        call, team, Place(first + team.index, call.rows, call.heads, call.width), part, dweight);
  if (!part) return;
  if constexpr (Vectors == kFew) add_teams(team, dweight);  // of more vectors there is one team
  if (team.index != 0) return;
#pragma unroll
  for (int v = 0; v < Vectors; ++v)
    store_packed<false>(part + team.at(v), call.width - team.at(v), pack<float>(dweight[v]));
}

/// A warp's lanes take columns; its warps, every 16th part each.
template <class Weight>
__global__ void __launch_bounds__(kSumWarps* kWarp)
    sum_parts_kernel(const float* parts, std::int64_t count, std::int64_t width, Weight* dweight) {
  __shared__ float of_warps[kSumWarps][kWarp];
  const std::int64_t k = static_cast<std::int64_t>(blockIdx.x) * kWarp + lane_of_thread();
  float sum = 0;
  if (k < width)
    for (std::int64_t p = warp_of_thread(); p < count; p += kSumWarps) sum += parts[p * width + k];
  of_warps[warp_of_thread()][lane_of_thread()] = sum;
  __syncthreads();  // the sums of all warps are there
  if (warp_of_thread() != 0 || k >= width) return;
  for (int w = 1; w < kSumWarps; ++w) sum += of_warps[w][lane_of_thread()];
  dweight[k] = from_float<Weight>(sum);
}

template <class Element, class Weight, int Vectors>
int backward(Backward<Element, Weight> call, bool whole, Weight* dweight, CudaStream stream) {
  call.lanes = lanes_for(call.width, Vectors);
  const std::int64_t most = rms_norm_parts_cuda(call.width);
  const std::int64_t needed = ceil_div(call.rows, kNormThreads / call.lanes);
  const std::int64_t parts = needed < most ? needed : most;
  const auto kernel = whole ? &rms_norm_backward_kernel<Element, Weight, Vectors, true>
                            : &rms_norm_backward_kernel<Element, Weight, Vectors, false>;
  const int error = launch({parts, kNormThreads}, stream, kernel, call);
  if (error || !dweight) return error;
  return launch({ceil_div(call.width, kWarp), kSumWarps * kWarp}, stream, &sum_parts_kernel<Weight>,
                static_cast<const float*>(call.parts), parts, call.width, dweight);
}

template <class Element, class Weight>
int backward(const Backward<Element, Weight>& call, Weight* dweight, CudaStream stream) {
  const bool whole = call.width % kVector == 0 && fits_vectors(call.x) && fits_vectors(call.dy) &&
                     fits_vectors(call.dh) && fits_vectors(call.weight, 0) && fits_vectors(call.dx);
  return call.width <= kFewWidth ? backward<Element, Weight, kFew>(call, whole, dweight, stream)
                                 : backward<Element, Weight, kMany>(call, whole, dweight, stream);
}

}  // namespace

int rms_norm_backward_cuda(Heads<const float> x, Heads<const float> dy, Heads<const float> dh,
                           std::int64_t rows, std::int64_t heads, std::int64_t width,
                           const float* weight, float eps, Heads<float> dx, float* workspace,
                           float* dweight, CudaStream stream) {
  return backward(
      Backward<float, float>{x, dy, dh, rows * heads, heads, width, weight, eps, dx, workspace, 0},
      dweight, stream);
}

int rms_norm_backward_bf16_cuda(Heads<const bf16> x, Heads<const bf16> dy, Heads<const bf16> dh,
                                std::int64_t rows, std::int64_t heads, std::int64_t width,
                                const bf16* weight, float eps, Heads<bf16> dx, float* workspace,
                                bf16* dweight, CudaStream stream) {
  return backward(
      Backward<bf16, bf16>{x, dy, dh, rows * heads, heads, width, weight, eps, dx, workspace, 0},
      dweight, stream);
}

int rms_norm_backward_wide_weight_cuda(Heads<const bf16> x, Heads<const bf16> dy,
                                       Heads<const bf16> dh, std::int64_t rows, std::int64_t heads,
                                       std::int64_t width, const float* weight, float eps,
                                       Heads<bf16> dx, float* workspace, float* dweight,
                                       CudaStream stream) {
  return backward(
      Backward<bf16, float>{x, dy, dh, rows * heads, heads, width, weight, eps, dx, workspace, 0},
      dweight, stream);
}

}  // namespace r1::kernels
