#include "kernels/lanes.h"

#include "kernels/common/transpose.h"

namespace r1::kernels::R1_ISA {
namespace {

/// A number of lanes that the compiler knows takes two moves of a register at most.
template <int Count>
R1_INLINE void copy_lanes(const float* from, std::int64_t count, std::int64_t width, float* to) {
  if constexpr (Count > 0) {
    if (count != Count) return copy_lanes<Count - 1>(from, count, width, to);
    for (std::int64_t k = 0; k < width; ++k)
      __builtin_memcpy(to + k * kLanes, from + k * kLanes, Count * sizeof(float));
  }
}

}  // namespace

void copy_lanes_cpu(const float* from, std::int64_t count, std::int64_t width, float* to) noexcept {
  copy_lanes<kLanes>(from, count, width, to);
}

void lanes_to_rows_cpu(const float* panel, std::int64_t count, std::int64_t width, float* rows,
                       std::int64_t pitch) noexcept {
  std::int64_t k = 0;
  if (count == kLanes)
    for (; k + kLanes <= width; k += kLanes) transpose(panel + k * kLanes, kLanes, rows + k, pitch);
  for (std::int64_t lane = 0; lane < count; ++lane)
    for (std::int64_t c = k; c < width; ++c) rows[lane * pitch + c] = panel[c * kLanes + lane];
}

void rows_to_lanes_cpu(const float* rows, std::int64_t pitch, std::int64_t count,
                       std::int64_t width, float* panel) noexcept {
  std::int64_t k = 0;
  if (count == kLanes)
    for (; k + kLanes <= width; k += kLanes) transpose(rows + k, pitch, panel + k * kLanes, kLanes);
  for (std::int64_t c = k; c < width; ++c)
    for (std::int64_t lane = 0; lane < kLanes; ++lane)
      panel[c * kLanes + lane] = lane < count ? rows[lane * pitch + c] : 0.f;
}

}  // namespace r1::kernels::R1_ISA
