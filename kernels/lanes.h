#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {
/// Panels hold 16 rows of a batch, one per SIMD lane, [width][16]; these move rows between them.

/// Some neighbouring lanes of a panel to another panel, or elsewhere in one.
///
/// @param from, to  channel 0 of the first lane
/// @param count     lanes, in [0, 16]
R1_PER_ISA(void copy_lanes_cpu(const float* from, std::int64_t count, std::int64_t width,
                               float* to) noexcept;)

/// A panel's first `count` lanes to rows.
///
/// @param rows  [count, pitch], of which [count, width] are written
R1_PER_ISA(void lanes_to_rows_cpu(const float* panel, std::int64_t count, std::int64_t width,
                                  float* rows, std::int64_t pitch) noexcept;)

/// Rows to a panel's first `count` lanes; zeros in the others.
R1_PER_ISA(void rows_to_lanes_cpu(const float* rows, std::int64_t pitch, std::int64_t count,
                                  std::int64_t width, float* panel) noexcept;)
}  // namespace r1::kernels
