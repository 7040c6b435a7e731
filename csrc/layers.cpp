#include "csrc/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sigmoid.h>

#include <cmath>

#include "csrc/tensor_check.h"

namespace r1 {
namespace {

/// Contiguous, whatever the strides of `like`.
at::Tensor room_for(const at::Tensor& like) { return at::empty(like.sizes(), like.options()); }

/// What arithmetic is done in; contiguous, for torch's sums depend on strides.
at::Tensor widen(const at::Tensor& x) {
  return (x.scalar_type() == at::kDouble ? x : x.to(at::kFloat)).contiguous();
}

void check_elements(const char* function, const char* name, const at::Tensor& x) {
  check_reachable(function, name, x);
  const at::ScalarType dtype = x.scalar_type();
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kDouble)
    reject(function, name, " must be float32, bfloat16 or float64; got ", dtype_name(dtype));
  if (dtype == at::kDouble && x.is_cuda())
    reject(function, name, " must be float32 or bfloat16 on a GPU; got ", dtype_name(dtype));
}

void check_device(const char* function, const char* name, const at::Tensor& tensor,
                  const at::Tensor& x) {
  if (tensor.device() != x.device())
    reject(function, name, " must be on ", x.device(), " as the others are; got ", tensor.device());
}

void check_like(const char* function, const char* name, const at::Tensor& tensor,
                const char* of_name, const at::Tensor& x) {
  if (tensor.sizes() != x.sizes())
    reject(function, name, " must have the shape of ", of_name, ", ", x.sizes(), "; got ",
           tensor.sizes());
  if (tensor.scalar_type() != x.scalar_type())
    reject(function, name, " must be ", dtype_name(x), " as ", of_name, " is; got ",
           dtype_name(tensor));
  check_device(function, name, tensor, x);
}

void check_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  constexpr const char* kName = "rms_norm";
  if (x.dim() < 1 || x.size(-1) == 0) reject(kName, "x must be [..., width >= 1]; got ", x.sizes());
  check_elements(kName, "x", x);
  if (weight.dim() != 1 || weight.size(0) != x.size(-1))
    reject(kName, "weight must be [width = ", x.size(-1), "]; got ", weight.sizes());
  if (weight.scalar_type() != x.scalar_type() && weight.scalar_type() != at::kFloat)
    reject(kName, "weight must be float32 or x's dtype, ", dtype_name(x), "; got ",
           dtype_name(weight));
  check_device(kName, "weight", weight, x);
  if (!(eps > 0 && std::isfinite(eps))) reject(kName, "eps must be finite and > 0; got ", eps);
}

/// 1 / sqrt(mean of h^2 + eps) of each row.
at::Tensor scales_of(const at::Tensor& h, double eps) {
  return h.square().mean(-1, true).add(eps).rsqrt();
}

bool is_silu(const std::string& op) {
  if (op != "swiglu" && op != "geglu") reject("gated", "op must be swiglu or geglu; got ", op);
  return op == "swiglu";
}

void check_gate(const at::Tensor& gate, const at::Tensor& up, const std::string& op) {
  is_silu(op);
  if (gate.dim() < 1) reject(op.c_str(), "gate must be [..., width]; got ", gate.sizes());
  check_elements(op.c_str(), "gate", gate);
  check_like(op.c_str(), "up", up, "gate", gate);
}

/// The activation's value and derivative.
std::tuple<at::Tensor, at::Tensor> activated(const at::Tensor& x, bool is_silu) {
  if (is_silu) {
    const at::Tensor s = at::sigmoid(x), value = x * s;
    return {value, s + value * (1 - s)};
  }
  const double twice_root = 2 * std::sqrt(2 / M_PI);
  const at::Tensor square = x.square();
  const at::Tensor s = at::sigmoid(x * (square * 0.044715 + 1) * twice_root), value = x * s;
  return {value, s + value * (1 - s) * (square * (3 * 0.044715) + 1) * twice_root};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight,
                                            double eps, const std::optional<at::Tensor>& residual,
                                            std::int64_t stream) {
  check_norm(x, weight, eps);
  if (residual) check_like("rms_norm", "residual", *residual, "x", x);
  if (x.is_cuda()) {
    const at::Tensor y = room_for(x), h = residual ? room_for(x) : at::Tensor();
    rms_norm_cuda(x, weight, eps, residual.value_or(at::Tensor()), y, h, stream);
    return {y, residual ? h : x};
  }
  const at::Tensor h = residual ? x + *residual : x, wide = widen(h);
  const at::Tensor y = weight.to(wide.scalar_type()) * (wide * scales_of(wide, eps));
  return {y.to(x.scalar_type()), residual ? h.contiguous() : x};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& h, const at::Tensor& dy,
                                                     const at::Tensor& weight, double eps,
                                                     const std::optional<at::Tensor>& dh,
                                                     bool wants_weight, std::int64_t stream) {
  check_norm(h, weight, eps);
  check_like("rms_norm", "dy", dy, "x", h);
  if (dh) check_like("rms_norm", "dh", *dh, "x", h);
  const at::Tensor dweight = at::empty({wants_weight ? h.size(-1) : 0}, weight.options());
  if (h.is_cuda()) {
    const at::Tensor dx = room_for(h);
    rms_norm_backward_cuda(h, dy, weight, eps, dh.value_or(at::Tensor()), dx,
                           wants_weight ? dweight : at::Tensor(), stream);
    return {dx, dweight};
  }
  const at::Tensor x = widen(h), above = widen(dy), scale = scales_of(x, eps);
  const at::Tensor slope = weight.to(x.scalar_type()) * above;
  const at::Tensor pull = (slope * x).mean(-1, true) * scale.square();
  at::Tensor dx = scale * (slope - x * pull);
  if (dh) dx = dx + widen(*dh);
  if (wants_weight) dweight.copy_((above * x * scale).reshape({-1, h.size(-1)}).sum(0));
  return {dx.to(h.scalar_type()), dweight};
}

at::Tensor apply_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back,
                      std::int64_t stream) {
  R1_REQUIRE(x.dim() == 3 && x.size(2) > 0 && x.size(2) % 2 == 0,
             "x must be [tokens, heads, head_dim >= 2, even]; got ", x.sizes());
  check_elements(__func__, "x", x);
  const std::int64_t tokens = x.size(0), half = x.size(2) / 2;
  for (const auto& [name, angles] : {std::pair{"cos", &cos}, {"sin", &sin}}) {
    R1_REQUIRE(angles->dim() == 2 && angles->size(0) == tokens && angles->size(1) == half, name,
               " must be [tokens = ", tokens, ", head_dim / 2 = ", half, "]; got ",
               angles->sizes());
    R1_REQUIRE(angles->scalar_type() == at::kFloat, name, " must be float32; got ",
               dtype_name(*angles));
    check_device(__func__, name, *angles, x);
  }
  const at::Tensor y = room_for(x);
  if (x.is_cuda()) {
    apply_rope_cuda(x, cos, sin, back, y, stream);
    return y;
  }
  const at::Tensor wide = widen(x), c = cos.unsqueeze(1),
                   s = back ? -sin.unsqueeze(1) : sin.unsqueeze(1);
  const at::Tensor low = wide.narrow(2, 0, half), high = wide.narrow(2, half, half);
  y.narrow(2, 0, half).copy_(low * c - high * s);
  y.narrow(2, half, half).copy_(high * c + low * s);
  return y;
}

at::Tensor gated(const at::Tensor& gate, const at::Tensor& up, const std::string& op,
                 std::int64_t stream) {
  check_gate(gate, up, op);
  if (!gate.is_cuda()) {
    const at::Tensor value = std::get<0>(activated(widen(gate), is_silu(op)));
    return (value * widen(up)).to(gate.scalar_type());
  }
  const at::Tensor y = room_for(gate);
  gated_cuda(gate, up, is_silu(op), y, stream);
  return y;
}

std::tuple<at::Tensor, at::Tensor> gated_backward(const at::Tensor& gate, const at::Tensor& up,
                                                  const at::Tensor& dy, const std::string& op,
                                                  std::int64_t stream) {
  check_gate(gate, up, op);
  check_like(op.c_str(), "dy", dy, "gate", gate);
  const at::Tensor dgate = room_for(gate), dup = room_for(gate);
  if (gate.is_cuda()) {
    gated_backward_cuda(gate, up, dy, is_silu(op), dgate, dup, stream);
    return {dgate, dup};
  }
  const auto [value, slope] = activated(widen(gate), is_silu(op));
  const at::Tensor above = widen(dy);
  dgate.copy_(above * widen(up) * slope);
  dup.copy_(above * value);
  return {dgate, dup};
}

}  // namespace r1
