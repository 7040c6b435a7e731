#pragma once
#include <algorithm>
#include <cstdint>

#include "csrc/engine/lanes.h"
#include "csrc/training/packing.h"
#include "kernels/lanes.h"

/// Tiles: up to 16 consecutive rows of one part, in lanes of their own from lane 0 on. Packed rows
/// follow each other without gaps, so a tile straddles two panels as a rule.
namespace r1::training {

using engine::kLanes;
using engine::Range;

/// Calls `body` with the tiles of some rows, each of positions in one block of 16 of its part.
template <class Body>
void each_tile(const Packing& packing, Range rows, const Body& body) {
  for (std::int64_t r = rows.begin, end; r < rows.end; r = end) {
    const Packing::Row& row = packing.rows[static_cast<std::size_t>(r)];
    const Packing::Part& part = packing.parts[row.part];
    end = std::min({r - row.index % kLanes + kLanes, part.first + part.count(), rows.end});
    body(Range{r, end});
  }
}

/// Some channels of rows from panels to a tile, [width, 16].
///
/// @param panels  the first of these channels in row 0's panel
/// @param pitch   floats from a panel to the next
inline void read_tile(const float* panels, std::int64_t pitch, Range rows, std::int64_t width,
                      float* tile) {
  const std::int64_t lane = rows.begin % kLanes, first = std::min(rows.count(), kLanes - lane);
  const float* const from = panels + rows.begin / kLanes * pitch;
  R1_CPU(copy_lanes_cpu)(from + lane, first, width, tile);
  R1_CPU(copy_lanes_cpu)(from + pitch, rows.count() - first, width, tile + first);
}

/// The same back; leaves the panels' other lanes alone.
inline void write_tile(const float* tile, Range rows, std::int64_t width, std::int64_t pitch,
                       float* panels) {
  const std::int64_t lane = rows.begin % kLanes, first = std::min(rows.count(), kLanes - lane);
  float* const to = panels + rows.begin / kLanes * pitch;
  R1_CPU(copy_lanes_cpu)(tile, first, width, to + lane);
  R1_CPU(copy_lanes_cpu)(tile + first, rows.count() - first, width, to + pitch);
}

}  // namespace r1::training
