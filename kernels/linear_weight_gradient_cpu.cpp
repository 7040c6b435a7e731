#include "kernels/common/simd.h"
#include "kernels/common/transpose.h"
#include "kernels/linear.h"

namespace r1::kernels::R1_ISA {
namespace {

// Rows of the gradient that a tile sums: with two registers of columns, 16 or 12 accumulators.
#if defined(__AVX512F__)
constexpr int kRows = 8;
#else
constexpr int kRows = 4;
#endif
constexpr int kColumns = 2 * kPartLanes;
/// Panels whose part of a column tile stays in the L1 cache: 16 KB.
constexpr std::int64_t kBlock = 8;
/// Rows and columns of the gradient that stay in the L2 cache while all panels are added to them:
/// 256 KB, and half a megabyte of a block's operands beside it.
constexpr std::int64_t kBlockRows = 128, kBlockColumns = 512;
static_assert(kRowTile % kColumns == 0 && kBlockColumns % kRowTile == 0);

struct Operands {
  const float* dy;
  const float* rows;
  std::int64_t panels, out, in;
  std::int64_t begin, end;  // the panels of this block
  float* dw;
  bool add;  // to what dw holds
};

/// What a column of the gradient holds before this block.
R1_INLINE FloatRegister held(const Operands& op, const float* dw, std::int64_t columns) {
  if (!op.add || columns <= 0) return FloatRegister{};
  if (columns >= kPartLanes) return load_register(dw);
  float lanes[kPartLanes] = {};
  for (std::int64_t c = 0; c < columns; ++c) lanes[c] = dw[c];
  return load_register(lanes);
}

R1_INLINE void hold(float* dw, FloatRegister sum, std::int64_t columns) {
  if (columns >= kPartLanes) return store_register(dw, sum);
  float lanes[kPartLanes];
  store_register(lanes, sum);
  for (std::int64_t c = 0; c < columns; ++c) dw[c] = lanes[c];
}

/// Rows n + R... of the gradient by kColumns columns from k on.
template <int... R>
R1_INLINE void tile(const Operands& op, std::int64_t n, std::int64_t k, Indices<R...>) {
  const float* x = op.rows + k / kRowTile * kRowTile * rows_pitch(op.panels) * kLanes +
                   k % kRowTile + op.begin * kLanes * kRowTile;
  const std::int64_t next = kRowTile * rows_pitch(op.panels) * kLanes;
  const float* y = op.dy + (op.begin * op.out + n) * kLanes;
  float* const dw = op.dw + n * op.in + k;
  const std::int64_t left = op.in - k, right = left - kPartLanes;
  FloatRegister a[] = {held(op, dw + R * op.in, left)...};
  FloatRegister b[] = {held(op, dw + R * op.in + kPartLanes, right)...};
  for (std::int64_t panel = op.begin; panel < op.end; ++panel) {
    // The next tile's rows and, below, columns.
    (__builtin_prefetch(y + (static_cast<int>(sizeof...(R)) + R) * kLanes), ...);
    for (int row = 0; row < kLanes; ++row, x += kRowTile) {
      __builtin_prefetch(x + next, 0, 2);
      __builtin_prefetch(x + next + kPartLanes, 0, 2);
      const FloatRegister xa = load_register(x), xb = load_register(x + kPartLanes);
      ((a[R] += y[R * kLanes + row] * xa, b[R] += y[R * kLanes + row] * xb), ...);
    }
    y += op.out * kLanes;
  }
  ((hold(dw + R * op.in, a[R], left), hold(dw + R * op.in + kPartLanes, b[R], right)), ...);
}

R1_INLINE std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

struct Span {
  std::int64_t begin, end;
};

/// Some rows and columns of the gradient, over all panels.
void block(Operands op, Span rows, Span columns) {
  const bool add = op.add;
  for (op.begin = 0; op.begin < op.panels; op.begin = op.end) {
    op.end = least(op.begin + kBlock, op.panels);
    op.add = add || op.begin > 0;
    for (std::int64_t k = columns.begin; k < columns.end; k += kColumns) {
      std::int64_t n = rows.begin;
      for (; n + kRows <= rows.end; n += kRows) tile(op, n, k, UpTo<kRows>{});
      for (; n + 4 <= rows.end; n += 4) tile(op, n, k, UpTo<4>{});
      for (; n < rows.end; ++n) tile(op, n, k, UpTo<1>{});
    }
  }
}

}  // namespace

void linear_rows_cpu(const float* x, std::int64_t begin, std::int64_t end, std::int64_t panels,
                     std::int64_t width, float* rows) noexcept {
  for (std::int64_t panel = begin; panel < end; ++panel)
    for (std::int64_t k = 0; k < width; k += kLanes) {
      const float* const from = x + (panel * width + k) * kLanes;
      float* const to = rows + k / kRowTile * kRowTile * rows_pitch(panels) * kLanes +
                        panel * kLanes * kRowTile + k % kRowTile;
      if (k + kLanes <= width) {
        transpose(from, kLanes, to, kRowTile);
        continue;
      }
      for (int lane = 0; lane < kLanes; ++lane)
        for (std::int64_t c = 0; c < kLanes; ++c)
          to[lane * kRowTile + c] = k + c < width ? from[c * kLanes + lane] : 0.f;
    }
}

void linear_weight_gradient_cpu(const float* dy, const float* rows, std::int64_t panels,
                                std::int64_t out, std::int64_t in, std::int64_t begin,
                                std::int64_t end, float* dw, bool add) noexcept {
  const Operands op{dy, rows, panels, out, in, 0, 0, dw, add};
  for (std::int64_t n = begin; n < end; n += kBlockRows)
    for (std::int64_t k = 0; k < in; k += kBlockColumns)
      block(op, {n, least(n + kBlockRows, end)}, {k, least(k + kBlockColumns, in)});
}

void linear_bias_gradient_cpu(const float* dy, std::int64_t panels, std::int64_t out,
                              std::int64_t begin, std::int64_t end, float* db, bool add) noexcept {
  for (std::int64_t n = begin; n < end; ++n) {
    f32x16 sum{};
    for (std::int64_t panel = 0; panel < panels; ++panel)
      sum += load(dy + (panel * out + n) * kLanes);
    db[n] = (add ? db[n] : 0.f) + horizontal_sum(sum);
  }
}

}  // namespace r1::kernels::R1_ISA
