#pragma once
#include "kernels/common/packed.cuh"

/// The gate of a feed-forward layer, y = f(gate) * up, for an activation f: SwiGLU's or GEGLU's.
namespace r1::kernels {

constexpr int kGateThreads = 256;

/// What an activation's `at(x)` returns: f(x) and its derivative.
struct Activated {
  float value, slope;
};

/// 1 / (1 + e^-x), its relative error under 1e-7 (2 + |x|); 0 where e^-x overflows.
__device__ inline float sigmoid(float x) {
  const float one_more = 1.f + exp2_fast(x * -1.44269504f);
#if defined(R1_EMULATION)
  return 1.f / one_more;
#else
  // The exact division takes ten instructions, more than all else here.
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(one_more));
  return result;
#endif
}

template <class Element>
struct GateForward {
  Rows<const Element> gate, up;
  Rows<Element> y;
  std::int64_t rows, width;
};

template <class Element>
struct GateBackward {
  Rows<const Element> gate, up, dy;
  Rows<Element> dgate, dup;
  std::int64_t rows, width;
};

/// This thread's eight elements of [rows, width].
struct GatePlace {
  std::int64_t row, begin, left;  // left: at most 0 where there are none

  __device__ GatePlace(std::int64_t rows, std::int64_t width) {
    const std::int64_t vectors = ceil_div(width, kVector);
    const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kGateThreads + threadIdx.x;
    row = n / vectors;
    begin = (n - row * vectors) * kVector;
    left = row < rows ? width - begin : 0;
  }
  template <class Element>
  __device__ Element* in(const Rows<Element>& all) const {
    return all.data + row * all.stride + begin;
  }
};

template <class Activation, class Element, bool Whole>
__global__ void __launch_bounds__(kGateThreads) gate_kernel(GateForward<Element> call) {
  const GatePlace place(call.rows, call.width);
  if (place.left <= 0) return;
  const Packed<Element> packed_gate = load_packed<Whole>(place.in(call.gate), place.left);
  const Packed<Element> packed_up = load_packed<Whole>(place.in(call.up), place.left);
  float gate[kVector], up[kVector];
  unpack(packed_gate, gate);
  unpack(packed_up, up);
#pragma unroll
  for (int i = 0; i < kVector; ++i) up[i] *= Activation::at(gate[i]).value;
  store_packed<Whole>(place.in(call.y), place.left, pack<Element>(up));
}

template <class Activation, class Element, bool Whole>
__global__ void __launch_bounds__(kGateThreads) gate_backward_kernel(GateBackward<Element> call) {
  const GatePlace place(call.rows, call.width);
  if (place.left <= 0) return;
  const Packed<Element> packed_gate = load_packed<Whole>(place.in(call.gate), place.left);
  const Packed<Element> packed_up = load_packed<Whole>(place.in(call.up), place.left);
  const Packed<Element> packed_dy = load_packed<Whole>(place.in(call.dy), place.left);
  float gate[kVector], up[kVector], dy[kVector];
  unpack(packed_gate, gate);
  unpack(packed_up, up);
  unpack(packed_dy, dy);
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const Activated f = Activation::at(gate[i]);
    gate[i] = dy[i] * up[i] * f.slope;
    dy[i] *= f.value;  // dup
  }
  store_packed<Whole>(place.in(call.dgate), place.left, pack<Element>(gate));
  store_packed<Whole>(place.in(call.dup), place.left, pack<Element>(dy));
}

/// Rows that follow each other are one long row, whose vectors the ends of rows don't cut.
template <class Call, class... All>
void join_rows(Call& call, const All&... all) {
  if (!((all.stride == call.width) && ...)) return;
  call.width *= call.rows;
  call.rows = call.width > 0;
}

template <class Call, class... All>
bool fits_whole(const Call& call, const All&... all) {
  const bool one = call.rows == 1;  // whose stride is never taken
  return call.width % kVector == 0 && (fits_vectors(all.data, one ? 0 : all.stride) && ...);
}

template <class Activation, class Element>
int gate_forward(GateForward<Element> call, CudaStream stream) {
  join_rows(call, call.gate, call.up, call.y);
  const bool whole = fits_whole(call, call.gate, call.up, call.y);
  const std::int64_t threads = call.rows * ceil_div(call.width, kVector);
  return launch(
      {ceil_div(threads, kGateThreads), kGateThreads}, stream,
      whole ? &gate_kernel<Activation, Element, true> : &gate_kernel<Activation, Element, false>,
      call);
}

template <class Activation, class Element>
int gate_backward(GateBackward<Element> call, CudaStream stream) {
  join_rows(call, call.gate, call.up, call.dy, call.dgate, call.dup);
  const bool whole = fits_whole(call, call.gate, call.up, call.dy, call.dgate, call.dup);
  const std::int64_t threads = call.rows * ceil_div(call.width, kVector);
  return launch({ceil_div(threads, kGateThreads), kGateThreads}, stream,
                whole ? &gate_backward_kernel<Activation, Element, true>
                      : &gate_backward_kernel<Activation, Element, false>,
                call);
}

}  // namespace r1::kernels
