#include "kernels/swiglu.h"

#include "kernels/common/gate.cuh"

namespace r1::kernels {
namespace {

/// x / (1 + e^-x)
struct Silu {
  static __device__ Activated at(float x) {
    const float s = sigmoid(x), silu = x * s;
    return {silu, s + silu * (1.f - s)};
  }
};

}  // namespace

int swiglu_cuda(Rows<const float> gate, Rows<const float> up, std::int64_t rows, std::int64_t width,
                Rows<float> y, CudaStream stream) {
  return gate_forward<Silu>(GateForward<float>{gate, up, y, rows, width}, stream);
}

int swiglu_bf16_cuda(Rows<const bf16> gate, Rows<const bf16> up, std::int64_t rows,
                     std::int64_t width, Rows<bf16> y, CudaStream stream) {
  return gate_forward<Silu>(GateForward<bf16>{gate, up, y, rows, width}, stream);
}

int swiglu_backward_cuda(Rows<const float> gate, Rows<const float> up, Rows<const float> dy,
                         std::int64_t rows, std::int64_t width, Rows<float> dgate, Rows<float> dup,
                         CudaStream stream) {
  return gate_backward<Silu>(GateBackward<float>{gate, up, dy, dgate, dup, rows, width}, stream);
}

int swiglu_backward_bf16_cuda(Rows<const bf16> gate, Rows<const bf16> up, Rows<const bf16> dy,
                              std::int64_t rows, std::int64_t width, Rows<bf16> dgate,
                              Rows<bf16> dup, CudaStream stream) {
  return gate_backward<Silu>(GateBackward<bf16>{gate, up, dy, dgate, dup, rows, width}, stream);
}

}  // namespace r1::kernels
