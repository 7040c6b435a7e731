#include "kernels/geglu.h"

#include "kernels/common/gate.cuh"

namespace r1::kernels {
namespace {

/// x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3)
struct Gelu {
  static __device__ Activated at(float x) {
    constexpr float kTwiceRoot = 1.59576912f;  // 2 sqrt(2 / pi)
    const float square = x * x;
    const float s = sigmoid(x * (square * 0.044715f + 1.f) * kTwiceRoot), gelu = x * s;
    return {gelu, s + gelu * (1.f - s) * (square * 0.134145f + 1.f) * kTwiceRoot};
  }
};

}  // namespace

int geglu_cuda(Rows<const float> gate, Rows<const float> up, std::int64_t rows, std::int64_t width,
               Rows<float> y, CudaStream stream) {
  return gate_forward<Gelu>(GateForward<float>{gate, up, y, rows, width}, stream);
}

int geglu_bf16_cuda(Rows<const bf16> gate, Rows<const bf16> up, std::int64_t rows,
                    std::int64_t width, Rows<bf16> y, CudaStream stream) {
  return gate_forward<Gelu>(GateForward<bf16>{gate, up, y, rows, width}, stream);
}

int geglu_backward_cuda(Rows<const float> gate, Rows<const float> up, Rows<const float> dy,
                        std::int64_t rows, std::int64_t width, Rows<float> dgate, Rows<float> dup,
                        CudaStream stream) {
  return gate_backward<Gelu>(GateBackward<float>{gate, up, dy, dgate, dup, rows, width}, stream);
}

int geglu_backward_bf16_cuda(Rows<const bf16> gate, Rows<const bf16> up, Rows<const bf16> dy,
                             std::int64_t rows, std::int64_t width, Rows<bf16> dgate,
                             Rows<bf16> dup, CudaStream stream) {
  return gate_backward<Gelu>(GateBackward<bf16>{gate, up, dy, dgate, dup, rows, width}, stream);
}

}  // namespace r1::kernels
