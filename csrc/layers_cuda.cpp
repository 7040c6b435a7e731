#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>

#include "csrc/cuda_library.h"
#include "csrc/layers.h"
#include "kernels/geglu.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace r1 {
namespace {

using kernels::bf16;

/// The stride of the first `dims` dimensions as one, if memory has them so.
std::optional<std::int64_t> joined_stride(const at::Tensor& tensor, std::int64_t dims) {
  if (tensor.numel() == 0) return 0;  // a size of 0 leaves strides that join nowhere
  std::optional<std::int64_t> stride;
  std::int64_t extent = 0;
  for (std::int64_t d = dims - 1; d >= 0; --d) {
    if (tensor.size(d) == 1) continue;
    if (!stride)
      stride = tensor.stride(d);
    else if (tensor.stride(d) != extent)
      return std::nullopt;
    extent = tensor.stride(d) * tensor.size(d);
  }
  return stride.value_or(0);
}

/// A tensor as [rows, heads, width] for the kernels; copied where its memory is not that.
class Matrix {
 public:
  /// @param heads  the last dimension but one is heads, with a stride of its own
  Matrix(const at::Tensor& tensor, bool heads) : tensor_(tensor) {
    if (!tensor.defined()) return;
    const std::int64_t dims = tensor.dim() - 1 - heads;
    const bool dense = tensor.size(-1) == 1 || tensor.stride(-1) == 1;
    const auto stride = dense ? joined_stride(tensor, dims) : std::nullopt;
    if (!stride) tensor_ = tensor.contiguous();
    stride_ = stride ? *stride : *joined_stride(tensor_, dims);
    if (heads) head_stride_ = tensor_.stride(-2);
  }

  template <class Element>
  kernels::Heads<Element> heads() const {
    return {data<Element>(), stride_, head_stride_};
  }
  template <class Element>
  kernels::Rows<Element> rows() const {
    return {data<Element>(), stride_};
  }

 private:
  template <class Element>
  Element* data() const {
    if (!tensor_.defined()) return nullptr;
    if constexpr (std::is_const_v<Element>)
      return static_cast<Element*>(tensor_.const_data_ptr());
    else
      return static_cast<Element*>(tensor_.mutable_data_ptr());
  }

  at::Tensor tensor_;
  std::int64_t stride_ = 0, head_stride_ = 0;
};

/// What [..., width] is to RMSNorm: whole rows, or heads where strides need them.
struct NormShape {
  bool has_heads;
  std::int64_t rows, heads, width;

  NormShape(const at::Tensor& x, std::initializer_list<at::Tensor> others)
      : has_heads(x.dim() > 2 && !x.is_contiguous()), width(x.size(-1)) {
    for (const at::Tensor& other : others)
      has_heads |= x.dim() > 2 && other.defined() && !other.is_contiguous();
    heads = has_heads ? x.size(-2) : 1;
    rows = heads == 0 ? 0 : x.numel() / width / heads;
  }
};

bool is_bf16(const at::Tensor& tensor) { return tensor.scalar_type() == at::kBFloat16; }

template <class Element>
Element* data_of(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<Element*>(tensor.mutable_data_ptr()) : nullptr;
}

}  // namespace

void rms_norm_cuda(const at::Tensor& x, const at::Tensor& weight, double eps,
                   const at::Tensor& residual, const at::Tensor& y, const at::Tensor& h,
                   std::int64_t stream) {
  const c10::DeviceGuard guard(x.device());
  const NormShape shape(x, {residual});
  const Matrix of_x(x, shape.has_heads), of_residual(residual, shape.has_heads),
      of_y(y, shape.has_heads), of_h(h, shape.has_heads);
  const at::Tensor weights = weight.contiguous();
  const auto run = [&](auto launcher, const char* name, auto element, const auto* of_weight) {
    using Element = decltype(element);
    check_cuda(name,
               launcher(of_x.heads<const Element>(), of_residual.heads<const Element>(), shape.rows,
                        shape.heads, shape.width, of_weight, static_cast<float>(eps),
                        of_h.heads<Element>(), of_y.heads<Element>(), stream_of(stream)));
  };
  if (!is_bf16(x))
    run(R1_CUDA_LAUNCHER(rms_norm_cuda), "rms_norm_cuda", float{}, data_of<const float>(weights));
  else if (is_bf16(weight))
    run(R1_CUDA_LAUNCHER(rms_norm_bf16_cuda), "rms_norm_bf16_cuda", bf16{},
        data_of<const bf16>(weights));
  else
    run(R1_CUDA_LAUNCHER(rms_norm_wide_weight_cuda), "rms_norm_wide_weight_cuda", bf16{},
        data_of<const float>(weights));
}

void rms_norm_backward_cuda(const at::Tensor& h, const at::Tensor& dy, const at::Tensor& weight,
                            double eps, const at::Tensor& dh, const at::Tensor& dx,
                            const at::Tensor& dweight, std::int64_t stream) {
  const c10::DeviceGuard guard(h.device());
  const NormShape shape(h, {dy, dh});
  const Matrix of_h(h, shape.has_heads), of_dy(dy, shape.has_heads), of_dh(dh, shape.has_heads),
      of_dx(dx, shape.has_heads);
  const at::Tensor weights = weight.contiguous();
  at::Tensor workspace;
  if (dweight.defined())
    workspace = at::empty({kernels::rms_norm_parts_cuda(shape.width), shape.width},
                          h.options().dtype(at::kFloat));
  const auto run = [&](auto launcher, const char* name, auto element, auto weight_element) {
    using Element = decltype(element);
    using Weight = decltype(weight_element);
    check_cuda(name, launcher(of_h.heads<const Element>(), of_dy.heads<const Element>(),
                              of_dh.heads<const Element>(), shape.rows, shape.heads, shape.width,
                              data_of<const Weight>(weights), static_cast<float>(eps),
                              of_dx.heads<Element>(), data_of<float>(workspace),
                              data_of<Weight>(dweight), stream_of(stream)));
  };
  if (!is_bf16(h))
    run(R1_CUDA_LAUNCHER(rms_norm_backward_cuda), "rms_norm_backward_cuda", float{}, float{});
  else if (is_bf16(weight))
    run(R1_CUDA_LAUNCHER(rms_norm_backward_bf16_cuda), "rms_norm_backward_bf16_cuda", bf16{},
        bf16{});
  else
    run(R1_CUDA_LAUNCHER(rms_norm_backward_wide_weight_cuda), "rms_norm_backward_wide_weight_cuda",
        bf16{}, float{});
}

void apply_rope_cuda(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back,
                     const at::Tensor& y, std::int64_t stream) {
  const c10::DeviceGuard guard(x.device());
  const Matrix of_x(x, true), of_y(y, true);
  const at::Tensor cosines = cos.contiguous(), sines = sin.contiguous();
  const auto run = [&](auto launcher, const char* name, auto element) {
    using Element = decltype(element);
    check_cuda(name, launcher(of_x.heads<const Element>(), x.size(0), x.size(1), x.size(2),
                              cosines.const_data_ptr<float>(), sines.const_data_ptr<float>(),
                              of_y.heads<Element>(), stream_of(stream)));
  };
  if (is_bf16(x) && back)
    run(R1_CUDA_LAUNCHER(rope_backward_bf16_cuda), "rope_backward_bf16_cuda", bf16{});
  else if (is_bf16(x))
    run(R1_CUDA_LAUNCHER(rope_bf16_cuda), "rope_bf16_cuda", bf16{});
  else if (back)
    run(R1_CUDA_LAUNCHER(rope_backward_cuda), "rope_backward_cuda", float{});
  else
    run(R1_CUDA_LAUNCHER(rope_cuda), "rope_cuda", float{});
}

void gated_cuda(const at::Tensor& gate, const at::Tensor& up, bool is_silu, const at::Tensor& y,
                std::int64_t stream) {
  if (y.numel() == 0) return;
  const c10::DeviceGuard guard(gate.device());
  const Matrix of_gate(gate, false), of_up(up, false), of_y(y, false);
  const std::int64_t width = gate.size(-1), rows = gate.numel() / width;
  const auto run = [&](auto launcher, const char* name, auto element) {
    using Element = decltype(element);
    check_cuda(name, launcher(of_gate.rows<const Element>(), of_up.rows<const Element>(), rows,
                              width, of_y.rows<Element>(), stream_of(stream)));
  };
  if (is_bf16(gate) && is_silu)
    run(R1_CUDA_LAUNCHER(swiglu_bf16_cuda), "swiglu_bf16_cuda", bf16{});
  else if (is_bf16(gate))
    run(R1_CUDA_LAUNCHER(geglu_bf16_cuda), "geglu_bf16_cuda", bf16{});
  else if (is_silu)
    run(R1_CUDA_LAUNCHER(swiglu_cuda), "swiglu_cuda", float{});
  else
    run(R1_CUDA_LAUNCHER(geglu_cuda), "geglu_cuda", float{});
}

void gated_backward_cuda(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& dy,
                         bool is_silu, const at::Tensor& dgate, const at::Tensor& dup,
                         std::int64_t stream) {
  if (dy.numel() == 0) return;
  const c10::DeviceGuard guard(gate.device());
  const Matrix of_gate(gate, false), of_up(up, false), of_dy(dy, false), of_dgate(dgate, false),
      of_dup(dup, false);
  const std::int64_t width = gate.size(-1), rows = gate.numel() / width;
  const auto run = [&](auto launcher, const char* name, auto element) {
    using Element = decltype(element);
    check_cuda(name, launcher(of_gate.rows<const Element>(), of_up.rows<const Element>(),
                              of_dy.rows<const Element>(), rows, width, of_dgate.rows<Element>(),
                              of_dup.rows<Element>(), stream_of(stream)));
  };
  if (is_bf16(gate) && is_silu)
    run(R1_CUDA_LAUNCHER(swiglu_backward_bf16_cuda), "swiglu_backward_bf16_cuda", bf16{});
  else if (is_bf16(gate))
    run(R1_CUDA_LAUNCHER(geglu_backward_bf16_cuda), "geglu_backward_bf16_cuda", bf16{});
  else if (is_silu)
    run(R1_CUDA_LAUNCHER(swiglu_backward_cuda), "swiglu_backward_cuda", float{});
  else
    run(R1_CUDA_LAUNCHER(geglu_backward_cuda), "geglu_backward_cuda", float{});
}

}  // namespace r1
