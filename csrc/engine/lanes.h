#pragma once
#include <algorithm>
#include <cstdint>

#include "csrc/engine/buffer.h"
#include "csrc/engine/spec.h"
#include "csrc/engine/team.h"
#include "kernels/linear.h"

/// Between rows of a batch and panels, which hold 16 of them, one per SIMD lane: [width][16].
namespace r1::engine {

constexpr std::int64_t kLanes = 16;

inline const float* data(const at::Tensor& tensor) { return tensor.const_data_ptr<float>(); }

inline const kernels::bf16* bf16_data(const at::Tensor& tensor) {
  return static_cast<const kernels::bf16*>(tensor.const_data_ptr());
}

inline void read_lane(const float* panel, std::int64_t width, std::int64_t lane, float* row) {
  for (std::int64_t k = 0; k < width; ++k) row[k] = panel[k * kLanes + lane];
}

inline void write_lane(const float* row, Range channels, std::int64_t lane, float* panel) {
  for (std::int64_t k = channels.begin; k < channels.end; ++k) panel[k * kLanes + lane] = row[k];
}

inline std::int64_t panels_of(std::size_t rows) {
  return (static_cast<std::int64_t>(rows) + kLanes - 1) / kLanes;
}

/// Zeros in a float32 tensor, a member of the crew its share; undefined: nothing. Not at::zeros,
/// whose workers spin for milliseconds afterwards on the cores that a crew works on.
inline void fill_zero(const Crew& crew, const at::Tensor& tensor) {
  if (!tensor.defined()) return;
  const Range mine = crew.share(tensor.numel(), kLanes);
  std::fill_n(tensor.mutable_data_ptr<float>() + mine.begin, mine.count(), 0.f);
}

/// Some channels of a matrix times whole panels.
inline void multiply(const at::Tensor& weight, const float* bias, const float* x,
                     std::int64_t panels, Range channels, const float* residual, float* y) {
  const auto run = [&](auto& kernel, const auto* rows) {
    kernel(x, panels, weight.size(1), rows, bias, weight.size(0), channels.begin, channels.end,
           residual, y);
  };
  weight.scalar_type() == at::kFloat ? run(R1_CPU(linear_cpu), data(weight))
                                     : run(R1_CPU(linear_bf16_cpu), bf16_data(weight));
}

/// Some channels of a projection of whole panels.
///
/// @param low  the caller's own, [panels, rank, 16]: every thread computes s a x for itself, which
///             is cheaper than a meeting, and in the same order whatever its channels
/// @param residual  like y, added to it; may be y itself; or null
inline void project(const Linear& linear, const float* x, std::int64_t panels, Range channels,
                    float* low, const float* residual, float* y) {
  multiply(linear.weight, linear.bias ? data(*linear.bias) : nullptr, x, panels, channels, residual,
           y);
  if (!linear.low_rank || channels.count() <= 0) return;
  const LowRank& pair = *linear.low_rank;
  const auto scale = static_cast<float>(pair.scale);
  multiply(pair.a, nullptr, x, panels, {0, pair.rank()}, nullptr, low);
  for (std::int64_t i = 0; i < panels * pair.rank() * kLanes; ++i) low[i] *= scale;
  multiply(pair.b, nullptr, low, panels, channels, y, y);
}

/// Some channels of a token's embedding into its lane.
inline void embed_lane(const DecoderSpec& spec, std::int64_t token, Range channels,
                       std::int64_t lane, float* panel) {
  const auto scale = static_cast<float>(spec.embedding_scale);
  const auto run = [&](const auto* rows) {
    const auto* const row = rows + token * spec.hidden();
    for (std::int64_t k = channels.begin; k < channels.end; ++k)
      panel[k * kLanes + lane] = kernels::widen(row[k]) * scale;
  };
  spec.embedding.scalar_type() == at::kFloat ? run(data(spec.embedding))
                                             : run(bf16_data(spec.embedding));
}

}  // namespace r1::engine
