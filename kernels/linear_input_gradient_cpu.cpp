#include "kernels/common/simd.h"
#include "kernels/linear.h"

namespace r1::kernels::R1_ISA {
namespace {

// Columns of the weights that a tile multiplies: with two registers of the batch, 16 or 8
// accumulators.
#if defined(__AVX512F__)
constexpr int kStrip = 8;
#else
constexpr int kStrip = 4;
#endif

struct Operands {
  const float* dy;
  std::int64_t panels, out, in;
  float* dx;
  // The block of output channels whose weights lie packed, a strip of columns after the other:
  std::int64_t first, rows;
  const float* packed;
  bool add;  // to what dx holds

  /// Strips begin on different sets of the cache.
  std::int64_t pitch() const { return rows * kStrip + kLanes; }
};

/// Columns k + R... by a register of the batch; the last strip has fewer.
template <int... R>
R1_INLINE void begin(const Operands& op, const float* dx, FloatRegister* sums, Indices<R...>) {
  ((sums[R] = op.add ? load_register(dx + R * kLanes) : FloatRegister{}), ...);
}

template <int... R>
R1_INLINE void tile(const Operands& op, std::int64_t k, std::int64_t column,
                    Indices<R...> columns) {
  const std::int64_t first = column / kParts, second = (column + 1) / kParts;
  const std::int64_t at = column % kParts * kPartLanes, next = (column + 1) % kParts * kPartLanes;
  const float* const ya = op.dy + (first * op.out + op.first) * kLanes + at;
  const float* const yb = op.dy + (second * op.out + op.first) * kLanes + next;
  const float* const w = op.packed + k / kStrip * op.pitch();
  float* const xa = op.dx + (first * op.in + k) * kLanes + at;
  float* const xb = op.dx + (second * op.in + k) * kLanes + next;
  FloatRegister a[sizeof...(R)], b[sizeof...(R)];
  begin(op, xa, a, columns);
  begin(op, xb, b, columns);
  for (std::int64_t n = 0; n < op.rows; ++n) {
    const FloatRegister left = load_register(ya + n * kLanes),
                        right = load_register(yb + n * kLanes);
    ((a[R] += w[n * kStrip + R] * left, b[R] += w[n * kStrip + R] * right), ...);
  }
  ((store_register(xa + R * kLanes, a[R]), store_register(xb + R * kLanes, b[R])), ...);
}

/// The same by the one register that is left over.
template <int... R>
R1_INLINE void single(const Operands& op, std::int64_t k, std::int64_t column,
                      Indices<R...> columns) {
  const std::int64_t panel = column / kParts, at = column % kParts * kPartLanes;
  const float* const y = op.dy + (panel * op.out + op.first) * kLanes + at;
  const float* const w = op.packed + k / kStrip * op.pitch();
  float* const x = op.dx + (panel * op.in + k) * kLanes + at;
  FloatRegister sums[sizeof...(R)];
  begin(op, x, sums, columns);
  for (std::int64_t n = 0; n < op.rows; ++n) {
    const FloatRegister lanes = load_register(y + n * kLanes);
    ((sums[R] += w[n * kStrip + R] * lanes), ...);
  }
  (store_register(x + R * kLanes, sums[R]), ...);
}

/// All columns of the weights by one or two registers of the batch.
template <bool Two>
R1_INLINE void sweep(const Operands& op, std::int64_t column) {
  const auto run = [&](std::int64_t k, auto columns) __attribute__((always_inline)) {
    if constexpr (Two)
      tile(op, k, column, columns);
    else
      single(op, k, column, columns);
  };
  std::int64_t k = 0;
  for (; k + kStrip <= op.in; k += kStrip) run(k, UpTo<kStrip>{});
  switch (op.in - k) {
#if defined(__AVX512F__)
    case 7:
      return run(k, UpTo<7>{});
    case 6:
      return run(k, UpTo<6>{});
    case 5:
      return run(k, UpTo<5>{});
    case 4:
      return run(k, UpTo<4>{});
#endif
    case 3:
      return run(k, UpTo<3>{});
    case 2:
      return run(k, UpTo<2>{});
    case 1:
      return run(k, UpTo<1>{});
    default:
      return;
  }
}

template <class Element>
void pack(const Operands& op, const Element* weight, float* packed) {
  for (std::int64_t n = 0; n < op.rows; ++n) {
    const Element* const row = weight + (op.first + n) * op.in;
    float* const to = packed + n * kStrip;
    std::int64_t k = 0;
    for (; k + kStrip <= op.in; k += kStrip) {
      float strip[kStrip];  // of its own: `to` might overlap the row, as far as g++ knows
      for (int r = 0; r < kStrip; ++r) strip[r] = widen(row[k + r]);
      __builtin_memcpy(to + k / kStrip * op.pitch(), strip, sizeof strip);
    }
    for (; k < op.in; ++k) to[k / kStrip * op.pitch() + k % kStrip] = widen(row[k]);
  }
}

template <class Element>
void input_gradient(const float* dy, std::int64_t panels, std::int64_t out, const Element* weight,
                    std::int64_t in, float* workspace, float* dx, bool add) {
  for (std::int64_t first = 0; first < out; first += kGradientRows) {
    const std::int64_t rows = out - first < kGradientRows ? out - first : kGradientRows;
    const Operands op{dy, panels, out, in, dx, first, rows, workspace, add || first > 0};
    pack(op, weight, workspace);
    const std::int64_t columns = panels * kParts;
    std::int64_t column = 0;
    for (; column + 2 <= columns; column += 2) sweep<true>(op, column);
    if (column < columns) sweep<false>(op, column);
  }
}

}  // namespace

void linear_input_gradient_cpu(const float* dy, std::int64_t panels, std::int64_t out,
                               const float* weight, std::int64_t in, float* workspace, float* dx,
                               bool add) noexcept {
  input_gradient(dy, panels, out, weight, in, workspace, dx, add);
}

void linear_input_gradient_bf16_cpu(const float* dy, std::int64_t panels, std::int64_t out,
                                    const bf16* weight, std::int64_t in, float* workspace,
                                    float* dx, bool add) noexcept {
  input_gradient(dy, panels, out, weight, in, workspace, dx, add);
}

}  // namespace r1::kernels::R1_ISA
