#include "kernels/linear.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

template <class Weight>
struct Linear {
  const float* x;
  std::int64_t panels, in;
  const Weight* weight;
  const float* bias;
  std::int64_t out;
  float* y;
  bool add;
};

template <class Weight>
R1_INLINE void finish(const Linear<Weight>& op, std::int64_t n, float* y, FloatRegister sum) {
  if (op.bias) sum += op.bias[n];
  store_register(y, op.add ? load_register(y) + sum : sum);
}

/// Some rows of the weights as floats, for the inputs up to `end`.
struct Rows {
  const float* weight;
  std::int64_t stride, end;
};

constexpr std::int64_t kWidened = 256;  // inputs of bfloat16 weights that are widened at a time

template <int Count>
R1_INLINE Rows rows_from(const float* weight, std::int64_t in, std::int64_t k, float*) {
  return {weight + k, in, in};
}

/// Little beside the products: each float serves two registers of the batch.
template <int Count>
R1_INLINE Rows rows_from(const bf16* weight, std::int64_t in, std::int64_t k, float* scratch) {
  const std::int64_t count = in - k < kWidened ? in - k : kWidened;
  for (int r = 0; r < Count; ++r) {
    const bf16* const from = weight + r * in + k;
    float* const to = scratch + r * kWidened;
    std::int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
    for (; i < count; ++i) to[i] = widen(from[i]);
  }
  return {scratch, kWidened, k + count};
}

template <class Weight, int Count>
struct Scratch {
  alignas(64) float widened[sizeof(Weight) == sizeof(float) ? 1 : Count * kWidened];
};

/// Rows n + R... of the weights by two register columns of the batch.
template <class Weight, int... R>
R1_INLINE void tile(const Linear<Weight>& op, std::int64_t n, std::int64_t column, Indices<R...>) {
  const std::int64_t first = column / kParts, second = (column + 1) / kParts;
  const std::int64_t at = column % kParts * kPartLanes, next = (column + 1) % kParts * kPartLanes;
  const float* const xa = op.x + first * op.in * kLanes + at;
  const float* const xb = op.x + second * op.in * kLanes + next;
  Scratch<Weight, sizeof...(R)> scratch;
  FloatRegister a[sizeof...(R)] = {}, b[sizeof...(R)] = {};
  for (std::int64_t k = 0; k < op.in;) {
    const Rows rows = rows_from<sizeof...(R)>(op.weight + n * op.in, op.in, k, scratch.widened);
    for (const float* w = rows.weight; k < rows.end; ++k, ++w) {
      const FloatRegister left = load_register(xa + k * kLanes),
                          right = load_register(xb + k * kLanes);
      ((a[R] += w[R * rows.stride] * left, b[R] += w[R * rows.stride] * right), ...);
    }
  }
  float* const ya = op.y + (first * op.out + n) * kLanes + at;
  float* const yb = op.y + (second * op.out + n) * kLanes + next;
  ((finish(op, n + R, ya + R * kLanes, a[R]), finish(op, n + R, yb + R * kLanes, b[R])), ...);
}

/// The same by the one column that is left over.
template <class Weight, int... R>
R1_INLINE void single(const Linear<Weight>& op, std::int64_t n, std::int64_t column,
                      Indices<R...>) {
  const std::int64_t panel = column / kParts, at = column % kParts * kPartLanes;
  const float* const x = op.x + panel * op.in * kLanes + at;
  Scratch<Weight, sizeof...(R)> scratch;
  FloatRegister sum[sizeof...(R)] = {};
  for (std::int64_t k = 0; k < op.in;) {
    const Rows rows = rows_from<sizeof...(R)>(op.weight + n * op.in, op.in, k, scratch.widened);
    for (const float* w = rows.weight; k < rows.end; ++k, ++w) {
      const FloatRegister lanes = load_register(x + k * kLanes);
      ((sum[R] += w[R * rows.stride] * lanes), ...);
    }
  }
  float* const y = op.y + (panel * op.out + n) * kLanes + at;
  (finish(op, n + R, y + R * kLanes, sum[R]), ...);
}

/// One strip of weights against the whole batch, while the strip is in the L1 cache.
template <class Weight, int... R>
void strip(const Linear<Weight>& op, std::int64_t n, Indices<R...> rows) {
  const std::int64_t columns = op.panels * kParts;
  std::int64_t column = 0;
  for (; column + 2 <= columns; column += 2) tile(op, n, column, rows);
  if (column < columns) single(op, n, column, rows);
}

template <class Weight>
void linear(const Linear<Weight>& op, std::int64_t begin, std::int64_t end) {
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

}  // namespace

void linear_cpu(const float* x, std::int64_t panels, std::int64_t in, const float* weight,
                const float* bias, std::int64_t out, std::int64_t begin, std::int64_t end, float* y,
                bool add) noexcept {
  linear(Linear<float>{x, panels, in, weight, bias, out, y, add}, begin, end);
}

void linear_bf16_cpu(const float* x, std::int64_t panels, std::int64_t in, const bf16* weight,
                     const float* bias, std::int64_t out, std::int64_t begin, std::int64_t end,
                     float* y, bool add) noexcept {
  linear(Linear<bf16>{x, panels, in, weight, bias, out, y, add}, begin, end);
}

}  // namespace r1::kernels::R1_ISA
