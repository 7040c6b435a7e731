#include "kernels/linear.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

struct Linear {
  const float* x;
  std::int64_t panels, in;
  const float* weight;
  const float* bias;
  std::int64_t out;
  const float* residual;
  float* y;
};

R1_INLINE void finish(const Linear& op, std::int64_t n, std::int64_t at, FloatRegister sum) {
  if (op.bias) sum += op.bias[n];
  store_register(op.y + at, op.residual ? load_register(op.residual + at) + sum : sum);
}

/// Rows n + R... of the weights by two register columns of the batch.
template <int... R>
R1_INLINE void tile(const Linear& op, std::int64_t n, std::int64_t column, Indices<R...>) {
  const std::int64_t first = column / kParts, second = (column + 1) / kParts;
  const std::int64_t at = column % kParts * kPartLanes, next = (column + 1) % kParts * kPartLanes;
  const float* const xa = op.x + first * op.in * kLanes + at;
  const float* const xb = op.x + second * op.in * kLanes + next;
  const float* const w = op.weight + n * op.in;
  FloatRegister a[sizeof...(R)] = {}, b[sizeof...(R)] = {};
  for (std::int64_t k = 0; k < op.in; ++k) {
    const FloatRegister left = load_register(xa + k * kLanes),
                        right = load_register(xb + k * kLanes);
    __builtin_prefetch(w + sizeof...(R) * (op.in + k));  // the next strip
    ((a[R] += w[R * op.in + k] * left, b[R] += w[R * op.in + k] * right), ...);
  }
  const std::int64_t ya = (first * op.out + n) * kLanes + at;
  const std::int64_t yb = (second * op.out + n) * kLanes + next;
  ((finish(op, n + R, ya + R * kLanes, a[R]), finish(op, n + R, yb + R * kLanes, b[R])), ...);
}

/// The same by the one column that is left over.
template <int... R>
R1_INLINE void single(const Linear& op, std::int64_t n, std::int64_t column, Indices<R...>) {
  const std::int64_t panel = column / kParts, at = column % kParts * kPartLanes;
  const float* const x = op.x + panel * op.in * kLanes + at;
  const float* const w = op.weight + n * op.in;
  FloatRegister sum[sizeof...(R)] = {};
  for (std::int64_t k = 0; k < op.in; ++k) {
    const FloatRegister lanes = load_register(x + k * kLanes);
    ((sum[R] += w[R * op.in + k] * lanes), ...);
  }
  const std::int64_t y = (panel * op.out + n) * kLanes + at;
  (finish(op, n + R, y + R * kLanes, sum[R]), ...);
}

/// One strip of weights against the whole batch, while the strip is in the L1 cache.
template <int... R>
void strip(const Linear& op, std::int64_t n, Indices<R...> rows) {
  const std::int64_t columns = op.panels * kParts;
  std::int64_t column = 0;
  for (; column + 2 <= columns; column += 2) tile(op, n, column, rows);
  if (column < columns) single(op, n, column, rows);
}

}  // namespace

void linear_cpu(const float* x, std::int64_t panels, std::int64_t in, const float* weight,
                const float* bias, std::int64_t out, std::int64_t begin, std::int64_t end,
                const float* residual, float* y) noexcept {
  const Linear op{x, panels, in, weight, bias, out, residual, y};
  std::int64_t n = begin;
  // 2 columns x 8 or 6 rows of accumulators leave registers for the operands: AVX-512 has 32.
#if defined(__AVX512F__)
  for (; n + 8 <= end; n += 8) strip(op, n, Indices<0, 1, 2, 3, 4, 5, 6, 7>{});
#else
  for (; n + 6 <= end && n + 8 != end; n += 6) strip(op, n, Indices<0, 1, 2, 3, 4, 5>{});
#endif
  for (; n + 4 <= end; n += 4) strip(op, n, Indices<0, 1, 2, 3>{});
  for (; n < end; ++n) strip(op, n, Indices<0>{});
}

}  // namespace r1::kernels::R1_ISA
