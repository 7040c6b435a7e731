#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

/// What a decoder layer does between its matrix products, op by op. On a GPU by our kernels, on
/// `stream`; on the CPU by torch's, with the same formula: the CPU engine's own work on panels of
/// 16 rows, which no tensor is laid out in. Arithmetic is in float32 (float64 for float64, on the
/// CPU alone); bfloat16 is rounded once.
namespace r1 {

/// weight * h / sqrt(mean of h^2 + eps), with h = x + residual -> (y, h); without a residual h is
/// x.
///
/// @param x       [..., width] float32, bfloat16 or float64
/// @param weight  [width], float32 or x's dtype
std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight,
                                            double eps, const std::optional<at::Tensor>& residual,
                                            std::int64_t stream);
/// -> (dx, dweight), of the h that rms_norm gave; dweight [0] where it is not wanted.
///
/// @param dh  the gradient of h, added to dx
std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& h, const at::Tensor& dy,
                                                     const at::Tensor& weight, double eps,
                                                     const std::optional<at::Tensor>& dh,
                                                     bool wants_weight, std::int64_t stream);

/// Turns x [tokens, heads, head_dim] by the angles of [tokens, head_dim / 2], or back.
at::Tensor apply_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back,
                      std::int64_t stream);

/// f(gate) * up of [..., width], and its gradients (dgate, dup).
///
/// @param op  "swiglu", with f = silu, or "geglu", with the tanh form of GELU
at::Tensor gated(const at::Tensor& gate, const at::Tensor& up, const std::string& op,
                 std::int64_t stream);
std::tuple<at::Tensor, at::Tensor> gated_backward(const at::Tensor& gate, const at::Tensor& up,
                                                  const at::Tensor& dy, const std::string& op,
                                                  std::int64_t stream);

/// The same on a GPU, of arguments that are checked, into what the caller has made room for.
void rms_norm_cuda(const at::Tensor& x, const at::Tensor& weight, double eps,
                   const at::Tensor& residual, const at::Tensor& y, const at::Tensor& h,
                   std::int64_t stream);
void rms_norm_backward_cuda(const at::Tensor& h, const at::Tensor& dy, const at::Tensor& weight,
                            double eps, const at::Tensor& dh, const at::Tensor& dx,
                            const at::Tensor& dweight, std::int64_t stream);
void apply_rope_cuda(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back,
                     const at::Tensor& y, std::int64_t stream);
void gated_cuda(const at::Tensor& gate, const at::Tensor& up, bool is_silu, const at::Tensor& y,
                std::int64_t stream);
void gated_backward_cuda(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& dy,
                         bool is_silu, const at::Tensor& dgate, const at::Tensor& dup,
                         std::int64_t stream);

}  // namespace r1
