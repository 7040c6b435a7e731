#pragma once
#include "csrc/engine/buffer.h"
#include "csrc/engine/lanes.h"
#include "csrc/engine/spec.h"
#include "csrc/engine/team.h"
#include "kernels/linear.h"

/// The backward pass of a projection: the gradient of its input by panels, of its parameters by
/// output channels.
namespace r1::training {

using engine::Buffer;
using engine::Crew;
using engine::kLanes;
using engine::Linear;
using engine::Range;

/// Where the gradients of a projection's parameters go; null where nobody wants one.
struct LinearGradient {
  float *weight = nullptr, *bias = nullptr, *a = nullptr, *b = nullptr;
};

/// Of a projection with a low-rank pair, s a x by rows, and its gradient, [panels, rank, 16].
struct LowRankTape {
  Buffer low, rows, gradient;

  LowRankTape() = default;
  LowRankTape(const Linear& linear, std::int64_t panels)
      : low(linear.low_rank ? panels * linear.low_rank->rank() * kLanes : 0),
        rows(linear.low_rank ? kernels::rows_size(panels, linear.low_rank->rank()) : 0),
        gradient(low.size()) {}
};

inline void multiply_transposed(const at::Tensor& weight, const float* dy, std::int64_t panels,
                                float* workspace, float* dx, bool add) {
  const auto run = [&](auto& kernel, const auto* rows) {
    kernel(dy, panels, weight.size(0), rows, weight.size(1), workspace, dx, add);
  };
  weight.scalar_type() == at::kFloat
      ? run(R1_CPU(linear_input_gradient_cpu), engine::data(weight))
      : run(R1_CPU(linear_input_gradient_bf16_cpu), engine::bf16_data(weight));
}

/// Gradient of the input in some of `all` panels; also of s a x there.
///
/// @param dy, x, dx  of the first of the panels; x is read only where there is a low-rank pair
inline void input_gradient(const Linear& linear, const float* dy, const float* x, Range panels,
                           std::int64_t all, LowRankTape& tape, float* workspace, float* dx,
                           bool add) {
  multiply_transposed(linear.weight, dy, panels.count(), workspace, dx, add);
  if (!linear.low_rank) return;
  const engine::LowRank& pair = *linear.low_rank;
  const std::int64_t size = pair.rank() * kLanes, count = panels.count() * size;
  float* const low = tape.low.data() + panels.begin * size;
  float* const gradient = tape.gradient.data() + panels.begin * size;
  const auto scale = static_cast<float>(pair.scale);
  engine::multiply(pair.a, nullptr, x, panels.count(), {0, pair.rank()}, nullptr, low);
  multiply_transposed(pair.b, dy, panels.count(), workspace, gradient, false);
  for (std::int64_t i = 0; i < count; ++i) {
    low[i] *= scale;
    gradient[i] *= scale;
  }
  R1_CPU(linear_rows_cpu)
  (tape.low.data(), panels.begin, panels.end, all, pair.rank(), tape.rows.data());
  multiply_transposed(pair.a, gradient, panels.count(), workspace, dx, true);
}

/// This thread's channels of the gradients of the parameters, over all panels. `add` adds to them.
///
/// @param x  by rows
inline void parameter_gradient(const Linear& linear, const LinearGradient& to, const float* dy,
                               const float* x, std::int64_t panels, const LowRankTape& tape,
                               const Crew& crew, bool add) {
  const std::int64_t out = linear.weight.size(0), in = linear.weight.size(1);
  const Range mine = crew.share(out, 4);
  if (to.weight) R1_CPU(linear_weight_gradient_cpu)
  (dy, x, panels, out, in, mine.begin, mine.end, to.weight, add);
  if (to.bias)
    R1_CPU(linear_bias_gradient_cpu)(dy, panels, out, mine.begin, mine.end, to.bias, add);
  if (!linear.low_rank) return;
  const std::int64_t rank = linear.low_rank->rank();
  const Range ranks = crew.share(rank, 4);
  if (to.b) R1_CPU(linear_weight_gradient_cpu)
  (dy, tape.rows.data(), panels, out, rank, mine.begin, mine.end, to.b, add);
  if (to.a) R1_CPU(linear_weight_gradient_cpu)
  (tape.gradient.data(), x, panels, rank, in, ranks.begin, ranks.end, to.a, add);
}

}  // namespace r1::training
