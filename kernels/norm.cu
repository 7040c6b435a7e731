#include "kernels/norm.h"

#include "kernels/norm.cuh"

namespace r1::kernels {
namespace {

template <class Element, class Weight>
struct Forward {
  Heads<const Element> x, residual;
  std::int64_t rows, heads, width;  // rows: of all heads
  const Weight* weight;
  float eps;
  Heads<Element> h, y;
  int lanes;
};

/// x + residual as it is rounded, and written where it is wanted.
template <bool Whole, class Element>
__device__ Packed<Element> add(const Packed<Element>& x, const Packed<Element>& residual,
                               Element* h, std::int64_t left) {
  float sum[kVector], other[kVector];
  unpack(x, sum);
  unpack(residual, other);
#pragma unroll
  for (int i = 0; i < kVector; ++i) sum[i] += other[i];
  const Packed<Element> result = pack<Element>(sum);
  if (h) store_packed<Whole>(h, left, result);
  return result;
}

template <class Element, class Weight>
__device__ Packed<Element> normalized(const Packed<Element>& h, const Packed<Weight>& weight,
                                      float scale) {
  float x[kVector], w[kVector];
  unpack(h, x);
  unpack(weight, w);
#pragma unroll
  for (int i = 0; i < kVector; ++i) x[i] = w[i] * (x[i] * scale);
  return pack<Element>(x);
}

template <class Element, class Weight, int Vectors, bool Whole>
__global__ void __launch_bounds__(kNormThreads) rms_norm_kernel(Forward<Element, Weight> call) {
  const Team team(call.lanes);
  const Place place(static_cast<std::int64_t>(blockIdx.x) * team.teams + team.index, call.rows,
                    call.heads, call.width);
  const Element* const x = place.in(call.x);
  const Element* const residual = call.residual.data ? place.in(call.residual) : nullptr;
  Element* const h = call.h.data ? place.in(call.h) : nullptr;
  Element* const y = place.in(call.y);
  const auto sum_at = [&](std::int64_t i) {
    const std::int64_t left = place.width - i;
    const Packed<Element> own = load_packed<Whole>(x + i, left);
    if (!residual) return own;
    return add<Whole>(own, load_packed<Whole>(residual + i, left), static_cast<Element*>(nullptr),
                      left);
  };

  Packed<Element> held[Vectors], other[Vectors] = {};
  Packed<Weight> weight[Vectors];
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int i = team.at(v);
    held[v] = load_packed<Whole>(x + i, place.width - i);
    if (residual) other[v] = load_packed<Whole>(residual + i, place.width - i);
    weight[v] = load_packed<Whole>(call.weight + i, place.width - i);
  }
  float squares[1] = {};
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int i = team.at(v);
    if (residual) held[v] = add<Whole>(held[v], other[v], h ? h + i : nullptr, place.width - i);
    float values[kVector];
    unpack(held[v], values);
    squares[0] += square_sum(values);
  }
  team.for_rest<Vectors>(place.width, [&](std::int64_t i) {
    float values[kVector];
    unpack(sum_at(i), values);
    squares[0] += square_sum(values);
  });
  team_sum(team, squares);
  const float scale = inverse_root(squares[0], call.width, call.eps);

#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int i = team.at(v);
    store_packed<Whole>(y + i, place.width - i, normalized(held[v], weight[v], scale));
  }
  team.for_rest<Vectors>(place.width, [&](std::int64_t i) {  // the second read
    const std::int64_t left = place.width - i;
    const Packed<Element> again = sum_at(i);
    if (h) store_packed<Whole>(h + i, left, again);
    store_packed<Whole>(y + i, left,
                        normalized(again, load_packed<Whole>(call.weight + i, left), scale));
  });
}

template <class Element, class Weight, int Vectors>
int forward(Forward<Element, Weight> call, bool whole, CudaStream stream) {
  call.lanes = lanes_for(call.width, Vectors);
  const LaunchShape shape{ceil_div(call.rows, kNormThreads / call.lanes), kNormThreads};
  if (whole) return launch(shape, stream, &rms_norm_kernel<Element, Weight, Vectors, true>, call);
  return launch(shape, stream, &rms_norm_kernel<Element, Weight, Vectors, false>, call);
}

template <class Element, class Weight>
int forward(const Forward<Element, Weight>& call, CudaStream stream) {
  const bool whole = call.width % kVector == 0 && fits_vectors(call.x) &&
                     fits_vectors(call.residual) && fits_vectors(call.weight, 0) &&
                     fits_vectors(call.h) && fits_vectors(call.y);
  return call.width <= kFewWidth ? forward<Element, Weight, kFew>(call, whole, stream)
                                 : forward<Element, Weight, kMany>(call, whole, stream);
}

}  // namespace

int rms_norm_cuda(Heads<const float> x, Heads<const float> residual, std::int64_t rows,
                  std::int64_t heads, std::int64_t width, const float* weight, float eps,
                  Heads<float> h, Heads<float> y, CudaStream stream) {
  return forward(
      Forward<float, float>{x, residual, rows * heads, heads, width, weight, eps, h, y, 0}, stream);
}

int rms_norm_bf16_cuda(Heads<const bf16> x, Heads<const bf16> residual, std::int64_t rows,
                       std::int64_t heads, std::int64_t width, const bf16* weight, float eps,
                       Heads<bf16> h, Heads<bf16> y, CudaStream stream) {
  return forward(Forward<bf16, bf16>{x, residual, rows * heads, heads, width, weight, eps, h, y, 0},
                 stream);
}

int rms_norm_wide_weight_cuda(Heads<const bf16> x, Heads<const bf16> residual, std::int64_t rows,
                              std::int64_t heads, std::int64_t width, const float* weight,
                              float eps, Heads<bf16> h, Heads<bf16> y, CudaStream stream) {
  return forward(
      Forward<bf16, float>{x, residual, rows * heads, heads, width, weight, eps, h, y, 0}, stream);
}

}  // namespace r1::kernels
