#include "kernels/rope.h"

#include "kernels/common/packed.cuh"

namespace r1::kernels {
namespace {

constexpr int kThreads = 256;

/// Heads that a thread turns by the angles that it has read once.
template <class Element>
constexpr int kHeads = sizeof(Element) == 2 ? 4 : 2;

template <class Element>
struct Call {
  Heads<const Element> x;
  std::int64_t tokens, heads, half;
  const float *cos, *sin;
  float sign;  // 1 turns forward, -1 back
  Heads<Element> y;
};

/// A vector of the lower half and its partner of the upper one.
template <class Element>
__device__ void rotate(Packed<Element>& low, Packed<Element>& high, const float (&cos)[kVector],
                       const float (&sin)[kVector]) {
  float a[kVector], b[kVector];
  unpack(low, a);
  unpack(high, b);
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const float x = a[i];
    a[i] = x * cos[i] - b[i] * sin[i];
    b[i] = b[i] * cos[i] + x * sin[i];
  }
  low = pack<Element>(a);
  high = pack<Element>(b);
}

/// A thread takes one vector of channels of a few heads of a token.
template <class Element, bool Whole>
__global__ void __launch_bounds__(kThreads) rope_kernel(Call<Element> call) {
  constexpr int kMost = kHeads<Element>;
  const std::int64_t vectors = ceil_div(call.half, kVector);
  const std::int64_t chunks = ceil_div(call.heads, kMost);
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t chunk = n / vectors, token = chunk / chunks;
  if (token >= call.tokens) return;
  const std::int64_t i = (n - chunk * vectors) * kVector, left = call.half - i;
  const std::int64_t head = (chunk - token * chunks) * kMost;
  const Element* const x = call.x.data + token * call.x.token_stride + i;
  Element* const y = call.y.data + token * call.y.token_stride + i;
  const auto left_of = [&](int h) { return head + h < call.heads ? left : 0; };

  Packed<Element> low[kMost], high[kMost];
#pragma unroll
  for (int h = 0; h < kMost; ++h) {
    const Element* const from = x + (head + h) * call.x.head_stride;
    low[h] = load_packed<Whole>(from, left_of(h));
    high[h] = load_packed<Whole>(from + call.half, left_of(h));
  }
  float cos[kVector], sin[kVector];
  unpack(load_packed<Whole>(call.cos + token * call.half + i, left), cos);
  unpack(load_packed<Whole>(call.sin + token * call.half + i, left), sin);
#pragma unroll
  for (int c = 0; c < kVector; ++c) sin[c] *= call.sign;
#pragma unroll
  for (int h = 0; h < kMost; ++h) {
    rotate(low[h], high[h], cos, sin);
    Element* const to = y + (head + h) * call.y.head_stride;
    store_packed<Whole>(to, left_of(h), low[h]);
    store_packed<Whole>(to + call.half, left_of(h), high[h]);
  }
}

template <class Element>
int rotate(const Call<Element>& call, CudaStream stream) {
  const bool whole = call.half % kVector == 0 && fits_vectors(call.x) && fits_vectors(call.y) &&
                     fits_vectors(call.cos, 0) && fits_vectors(call.sin, 0);
  const std::int64_t threads =
      call.tokens * ceil_div(call.heads, kHeads<Element>) * ceil_div(call.half, kVector);
  return launch({ceil_div(threads, kThreads), kThreads}, stream,
                whole ? &rope_kernel<Element, true> : &rope_kernel<Element, false>, call);
}

}  // namespace

int rope_cuda(Heads<const float> x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
              const float* cos, const float* sin, Heads<float> y, CudaStream stream) {
  return rotate(Call<float>{x, tokens, heads, head_dim / 2, cos, sin, 1.f, y}, stream);
}

int rope_bf16_cuda(Heads<const bf16> x, std::int64_t tokens, std::int64_t heads,
                   std::int64_t head_dim, const float* cos, const float* sin, Heads<bf16> y,
                   CudaStream stream) {
  return rotate(Call<bf16>{x, tokens, heads, head_dim / 2, cos, sin, 1.f, y}, stream);
}

int rope_backward_cuda(Heads<const float> dy, std::int64_t tokens, std::int64_t heads,
                       std::int64_t head_dim, const float* cos, const float* sin, Heads<float> dx,
                       CudaStream stream) {
  return rotate(Call<float>{dy, tokens, heads, head_dim / 2, cos, sin, -1.f, dx}, stream);
}

int rope_backward_bf16_cuda(Heads<const bf16> dy, std::int64_t tokens, std::int64_t heads,
                            std::int64_t head_dim, const float* cos, const float* sin,
                            Heads<bf16> dx, CudaStream stream) {
  return rotate(Call<bf16>{dy, tokens, heads, head_dim / 2, cos, sin, -1.f, dx}, stream);
}

}  // namespace r1::kernels
